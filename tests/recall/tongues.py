"""What people say in other languages than English, and a question for each; `corpus` reads it. All of it was written for these tests.

Keywords must carry these: the bundled model knows little more than English. So the questions share a word with the answer in another form,
or beside a word that stands in other turns too.
"""

TONGUES = {
    "de": (
        ("Unser Nachbar hat uns drei Gläser Holundermarmelade geschenkt.", "Wer verschenkte Marmelade aus Holunder in Gläsern?"),
        ("Die Werkstatt öffnet jetzt schon um sieben.", "Ab wann hat die Werkstatt geöffnet?"),
        ("Der Nachbar übt seit gestern Posaune.", "Welches Instrument übt der Nachbar?"),
        ("Im Keller stehen noch die alten Schlittschuhe.", "Wo stehen die Schlittschuhe?"),
        ("Meine Tante züchtet Kakteen auf dem Dach.", "Was züchtet meine Tante?"),
        ("Der Zahnarzt hat den Termin verschoben.", "Welchen Termin hat der Zahnarzt verschoben?"),
        ("Die Fähre nach Föhr war ausgebucht.", "War die Fahre nach Fohr ausgebucht?"),
    ),
    "fr": (
        ("Le plombier a réparé la fuite sous l'évier.", "Quelle fuite le plombier a-t-il réparée ?"),
        ("Ma sœur élève des escargots dans son jardin.", "Que fait ma soeur avec les escargots ?"),
        ("La clé de la cave est chez la boulangère.", "Où est la clé de la cave ?"),
        ("Nous avons goûté un fromage aux orties.", "Quel fromage avons-nous goûté ?"),
        ("Le jardin de la mairie ferme à vingt heures.", "A quelle heure ferme le jardin de la mairie ?"),
        ("Mon vélo grince depuis l'orage.", "Depuis quand mon velo grince-t-il ?"),
    ),
    "es": (
        ("La llave del trastero está debajo del felpudo.", "¿Dónde está la llave del trastero?"),
        ("Mi abuela cultiva azafrán en macetas.", "¿Qué cultiva mi abuela en las macetas?"),
        ("El fontanero vuelve el jueves por la gotera.", "¿Cuándo vuelve el fontanero?"),
        ("Perdí los guantes en el tranvía amarillo.", "¿En qué tranvía perdí los guantes?"),
        ("La niña colecciona botones de nácar.", "¿Qué botones colecciona la nina?"),
        ("El gato del bar duerme en la caja.", "¿Dónde duerme el gato del bar?"),
    ),
    "pt": (
        ("O portão da quinta range quando chove.", "Quando é que o portao da quinta range?"),
        ("A minha prima restaura acordeões antigos.", "Que acordeões restaura a minha prima?"),
        ("Deixei o casaco na biblioteca nova.", "Onde deixei o casaco?"),
        ("O padeiro troca o forno em maio.", "Quando troca o padeiro o forno?"),
    ),
    "ru": (
        ("Дедушка починил старую гармонь.", "Кто чинил гармонь? Дедушкина починка"),
        ("Запасные ключи лежат в почтовом ящике у соседки.", "Где лежат запасные ключи?"),
        ("Соседка выращивает на балконе огурцы.", "Что выращивает соседка на балконах?"),
        ("Поезд на Тверь опоздал на два часа.", "Насколько опоздали поезда на Тверь?"),
        ("Мы купили зелёный диван для кухни.", "Какой зеленый диван мы купили?"),
        ("Брат играет на виолончели по средам.", "Когда брат играет на виолончели?"),
    ),
    "el": (
        ("Ο γείτονας φύτεψε λεμονιές στην αυλή.", "Τι φύτεψε ο γειτονας στην αυλη;"),
        ("Το πλοίο για τη Νάξο φεύγει στις οκτώ.", "Πότε φεύγει το πλοιο για τη Ναξο;"),
        ("Η θεία μου μαζεύει παλιά ραδιόφωνα.", "Τι μαζευει η θεια μου;"),
    ),
    "zh": (
        ("备用钥匙放在邻居家的鞋柜里。", "备用钥匙放在哪里?"),
        ("我姐姐在阳台上养了三只鹌鹑。", "姐姐在阳台养了什么?"),
        ("周四的陶艺课改到了晚上七点。", "陶艺课改到几点?"),
        ("爷爷修好了那台旧收音机。", "谁修好了收音机?"),
        ("我们在码头边吃了藕粉。", "我们在哪里吃的藕粉?"),
        ("邻居把阳台漆成了绿色。", "邻居的阳台是什么颜色?"),
    ),
    "ja": (
        ("合鍵は隣の郵便受けに入れてあります。", "合鍵はどこにありますか"),
        ("祖父は古い時計を三つ修理しました。", "祖父が修理したのは何ですか"),
        ("妹は屋上で茄子を育てています。", "妹が屋上で育てているのは?"),
        ("木曜の陶芸教室は七時に変わりました。", "陶芸教室は何時になりましたか"),
    ),
    "ko": (
        ("여분 열쇠는 옆집 우편함에 있어요.", "여분의 열쇠가 어디 있어요?"),
        ("할아버지가 오래된 라디오를 고치셨어요.", "라디오는 누가 고쳤어요?"),
        ("누나는 옥상에서 고추를 키워요.", "누나가 옥상에서 키우는 것은?"),
    ),
    "ar": (
        ("المفتاح الاحتياطي عند الجارة في الطابق الثاني.", "أين المفتاح الاحتياطي؟"),
        ("جدي أصلح الراديو القديم بنفسه.", "من أصلح راديو جدي القديم؟"),
        ("أختي تزرع النعناع على السطح.", "ماذا تزرع أختي على السطح؟"),
    ),
}  # fmt: skip
