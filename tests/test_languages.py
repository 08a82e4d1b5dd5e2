"""Memories in any language are found by their words, however a question bends, accents, spaces or writes them.

By keyword alone, through a real vault; every memory is beside those of all the other languages and one more of its own.
"""

from collections.abc import Iterator

import pytest

from mcp_server import search
from mcp_server.device import Device
from mcp_server.search import Asked
from tests.builders import Gate, opened, seal_early, tell

# What was said, what else was said in this language, and questions that the first answers.
LANGUAGES = {
    "English": (
        "She was planning the children's birthdays",
        "He sold his boat last winter",
        ["What does she plan?", "child's birthday", "plans for birthdays"],
    ),
    "German": (
        "Wir wohnen seit Mai in der Großen Straße über dem Bäcker",
        "Die Katze schläft auf dem Sofa",
        ["GROSSE STRASSE", "Backer"],
    ),
    "French": (
        "J'ai réservé l'hôtel près de l'église pour août",
        "Mon frère préfère la montagne",
        ["hotel", "Où est l’HÔTEL réservé ?", "eglise", "les hôtels"],
    ),
    "Spanish": (
        "Mañana compraré limones y jabón en el mercado",
        "Los zapatos nuevos son azules",
        ["limon", "limón", "¿Jabones?", "MANANA"],
    ),
    "Portuguese": (
        "O avião de João parte às três da manhã",
        "A reunião foi cancelada",
        ["aviao", "Joao"],
    ),
    "Polish": ("Spotkamy się w Łodzi przy źródle", "Pies śpi na łóżku", ["lodzi", "zrodle"]),
    "Turkish": (
        "İstanbul'da ılık bir gün geçirdik",
        "Kardeşim kahve içmez",
        ["istanbul", "İSTANBUL'A", "ILIK", "gecirdik"],
    ),
    "Vietnamese": ("Chúng tôi ăn phở ở Hà Nội", "Mẹ thích trà sen", ["ha noi", "phở"]),
    "Greek": (
        "Ο δρόμος για το σπίτι είναι κλειστός",
        "Η θάλασσα ήταν ήρεμη",
        ["δρόμοι", "ΔΡΟΜΟΥΣ", "σπίτια", "κλειστοσ"],
    ),
    "Russian": (
        "Наша собака любит ёлку и снег",
        "Поезд приходит вечером",
        ["собаки", "СОБАКАМ", "елка", "снега"],
    ),
    "Ukrainian": ("Бабуся живе у Львові", "Ми купили новий стіл", ["бабуся", "ЛЬВОВІ"]),
    "Armenian": ("Տունը գտնվում է Երևանում", "Գիրքը սեղանին է", ["տունը", "ՏՈՒՆԸ"]),
    "Georgian": ("ჩემი და თბილისში ცხოვრობს", "წიგნი მაგიდაზეა", ["თბილისში"]),
    "Arabic": (
        "المدرسة الجديدة قريبة من السوق",
        "أخي يحب القهوة",
        ["مدرسة", "والمدرسة", "مَدْرَسَةٌ", "سوق"],
    ),
    "Persian": ("کتاب را به کتابخانه پس دادم", "هوا سرد بود", ["كتاب", "کتابخانه"]),
    "Hebrew": (
        "הספר נמצא בבית של סבתא",
        "הכלב ישן על השטיח",
        ["ספר", "בַּיִת"],
    ),
    "Hindi": ("मेरी किताब स्कूल में है", "कल बारिश हुई", ["किताबें", "स्कूल"]),
    "Tamil": ("என் புத்தகம் மேசையில் உள்ளது", "நாளை மழை பெய்யும்", ["புத்தகம்", "புத்தகங்கள்"]),
    "Bengali": ("আমার বই টেবিলে আছে", "কাল বৃষ্টি হবে", ["টেবিলে"]),
    "Chinese": (
        "我上周在北京大学学习中文",
        "她喜欢吃苹果",
        ["北京", "在哪里学习？", "大学", "中文是在哪里学的"],
    ),
    "Chinese, one character": ("家里养了一只猫", "外面下雨了", ["猫", "猫在哪里"]),
    "Chinese, a rare name": ("他姓\U00020bb7", "今天很热", ["\U00020bb7"]),
    "Japanese": (
        "昨日、東京でラーメンを食べた",
        "来月は沖縄へ行く",
        ["ラーメン", "ﾗｰﾒﾝ", "東京", "どこでラーメンを食べましたか"],
    ),
    "Korean": (
        "서울에서 친구를 만났다",
        "내일은 비가 온다",
        ["서울", "서울은 어때?", "친구가"],
    ),
    "Korean, one syllable": ("할머니 집에 갔다", "책을 읽었다", ["집", "집은 어디"]),
    "Thai": ("แม่ชอบกินต้มยำกุ้งที่เชียงใหม่", "พรุ่งนี้ฝนจะตก", ["ต้มยำกุ้ง", "เชียงใหม่", "กินอะไรที่เชียงใหม่"]),
    "Lao": ("ຂ້ອຍຢູ່ວຽງຈັນ", "ມື້ອື່ນຝົນຕົກ", ["ວຽງຈັນ"]),
    "Khmer": ("ខ្ញុំរស់នៅភ្នំពេញ", "ថ្ងៃនេះក្តៅ", ["ភ្នំពេញ"]),
    "Burmese": ("ကျွန်တော် ရန်ကုန်မှာနေတယ်", "မိုးရွာတယ်", ["ရန်ကုန်"]),
    "Amharic": ("አዲስ አበባ ቆንጆ ናት", "ቡና እወዳለሁ", ["አበባ"]),
    "two scripts in one": ("iPhone을 샀다, 価格は900ドル", "안녕", ["iphone", "価格", "900"]),
}


@pytest.fixture(scope="module", params=["unsealed", "sealed"])
def polyglot(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Device]:
    gate = Gate()  # no model: words must do
    with opened(tmp_path_factory.mktemp("polyglot"), model=gate, ready=False) as device:
        for said, aside, _ in LANGUAGES.values():
            tell(device, said, aside)
        if request.param == "sealed":
            seal_early(device, rows=2)
        yield device
        gate.open()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_memory_is_found_by_its_words(polyglot: Device, language: str) -> None:
    said, _, questions = LANGUAGES[language]
    for question in questions:
        answer = search.find(polyglot, Asked(query=question), client="test")
        assert [each.memory.text for each in answer.found[:1]] == [said], question
