"""The phrases by which people state instructions, preferences, themselves, promises and decisions: data, no code.

English well; German, French and Spanish by their plainest phrases only. A phrase that is missed costs one line in `context`; one that is
claimed wrongly puts words into the person's mouth, so where the two conflict the phrase is left out. Every repetition in
an expression is bounded, so that a hostile text costs no more than an honest one of its length.
"""

from msgspec import Struct

STANDING = 1
"""An instruction that holds from then on."""
PREFERENCE = 2
PROMISE = 4
"""Something the person means to do, or wants to be reminded of."""
DATED = 8
"""Speaks of a day that may lie ahead of when it was said."""
DECISION = 16
PROFILE = 32
"""Who the person is."""
DONE = 64
"""Something was done, which may close a promise."""
TIMED = 128
"""Says when: "yesterday", "last week", "in May". What answers a question that asks for a time."""


class Phrase(Struct, frozen=True):
    """One way to say it. Looked for only in sentences that have one of the `words` (casefolded, all it costs elsewhere)."""

    flags: int
    words: str
    expression: str
    """`^^` stands for the beginning of a sentence with what politeness puts before it; letters match in either case."""
    about: str | None = None
    """Of a profile: which question about the person it answers; the newest answer counts."""


OPENING = (
    r"\A[\s\"'“«(*\-–•¡]{0,6}(?:\d{1,2}[.)]\s{1,2})?"
    r"(?:(?:please|pls|also|and|so|ok|okay|but|hey|hi|oh|just|kindly|note|important|reminder|bitte|und|also|aber|"
    r"s'il te plaît|s'il vous plaît|por favor|y)[,:!]?\s{1,3}){0,3}"
)

_ORDER = (
    r"(?:use|write|keep|make|give|answer|reply|respond|speak|talk|address|show|include|add|avoid|don't|do not|stop|"
    r"format|put|explain|cite|list|provide|remember|ask|check|tell|be|translate|skip|leave|treat|assume|mention|"
    r"suggest|recommend|start|end|begin|prefer|refer|highlight|summari[sz]e|return|remind)"
)
_MANNER = (
    r"(?:use|write|include|add|suggest|recommend|mention|assume|apologi[sz]e|repeat|summari[sz]e|translate|"
    r"call me|address me|quote|format|send me|show me|give me|ask me|start|end)"
)
# What one can promise and later have done; "be", "see" and "think" promise nothing.
_DEED = (
    r"(?:send|e-?mail|mail|call|phone|ring|text|message|book|reserve|buy|order|pay|bring|return|give back|finish|submit|"
    r"deliver|file|sign|schedule|arrange|organi[sz]e|prepare|review|proofread|share|forward|upload|deploy|merge|fix|"
    r"update|renew|cancel|register|apply|follow up|get back to|pick up|"
    r"pick (?:him|her|them|it) up|drop off|talk to|speak to|write|draft|test|back up|invite|look into|find out|"
    r"set up|install|clean|repair|visit|meet|complete|hand in|return|water|feed|refill|replace|print|post)"
)
_SURE = r"(?:(?:really|always|generally|usually|definitely|strongly|much|also|personally|still|actually|mostly|typically|often|tend to|just|do|absolutely)\s){0,2}"
_I_AM = r"\bi(?:'m| am)\s"
_NAME = r"(?-i:[A-ZÀ-Þ][\w'-]{1,30})"
_KIN = (
    r"(?P<who>wife|husband|partner|spouse|fianc[ée]e?|girlfriend|boyfriend|son|daughter|kids?|children|baby|mother|mom|mum|"
    r"father|dad|parents|brother|sister|twin|grandmother|grandfather|grandma|grandpa|niece|nephew|cousin|roommate|flatmate)"
)
_PET = r"(?:dogs?|cats?|pupp(?:y|ies)|kittens?|rabbits?|hamsters?|parrots?|horses?|turtles?|guinea pigs?|pets?)"
_TRADE = (
    r"(?:engineer|developer|programmer|teacher|nurse|doctor|student|designer|manager|writer|lawyer|artist|producer|scientist|"
    r"accountant|architect|chef|cook|counsell?or|therapist|researcher|professor|journalist|photographer|consultant|"
    r"analyst|musician|dancer|technologist|pilot|carpenter|electrician|plumber|farmer|librarian|founder|freelancer|"
    r"entrepreneur|editor|translator|technician|mechanic|driver|paramedic|pharmacist|dentist|veterinarian|vet)"
)

# Words that tell a time; in these languages, because elsewhere a question's own words must do.
TIME_WORDS = (
    r"\b(?:yesterday|today|tonight|tomorrow|last|next|ago|week(?:end)?s?|months?|years?|since|recently|"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|may|june|july|august|september|october|"
    r"november|december|\d{4}|gestern|heute|morgen|letzte[nrs]?|nächste[nrs]?|vor|woche|monat|jahr|hier|demain|"
    r"dernier|dernière|semaine|mois|année|ayer|mañana|pasad[oa]|semana|mes|año)\b"
)

ENGLISH = (
    # Instructions that hold from then on.
    Phrase(STANDING, "always never",
           r"^^(?:always|never)\s(?!\w+(?<!e)(?<!mb)ed\b|\w+ing\b|(?:mind|again|been|heard|have|had|has|knew|thought|saw|seen|see|got|did|went|came|took|made|would|will|could|can|"
           r"said|felt|a|an|the|in|on|at|so|too|nice|good|great|fun|happy|love|loves|is|was|be afraid|give up|stop|stops|follow your|"
           r"believe|remember|forget|something|someone|ever|know|tell yourself|there|fails?|makes|seems|feels|gets|sure|worth|here|"
           r"change|be yourself|let (?:anyone|anything|fear)|lose|doubt|underestimate|going|i|we|he|she|they|you)\b)"),
    Phrase(STANDING, "now here forward henceforth",
           r"^^(?:from now on|from here on(?: out)?|going forward|henceforth),?\s(?!(?:i|we|it|he|she|they|my|our|there|the|this)\b"
           r"(?!\s(?:want|prefer|expect|need)\syou\b|'d\b|\swould\s(?:like|prefer)))"),
    Phrase(STANDING, "now forward future time times default unless whenever when",
           rf"^^{_ORDER}\b.{{0,200}}\b(?:from now on|going forward|in (?:the )?future|every time|each time|at all times|by default|"
           r"unless i\b|whenever (?:i|you)\b|when(?:ever)? i (?:ask|say|mention|request|send|share|paste)|"
           r"when you (?:answer|write|reply|respond|explain|suggest))"),
    Phrase(STANDING, "when whenever time if anytime",
           r"^^(?:when|whenever|every time|each time|any ?time|if) i (?:ever )?(?:ask|send|share|paste|request|mention)\b(?! (?:him|her|them|my)\b)"),
    Phrase(STANDING, "you",
           r"\b(?:i want|i need|i'd like|i would like|i expect|i'd prefer|i would prefer|i prefer) you to "
           r"(?:always|never|only|stop|remember|call me|address me|avoid)\b"),
    Phrase(STANDING, "always never", r"\byou (?:should|must|need to|have to|are to) (?:always|never)\b"),
    Phrase(STANDING, "always never", r"\b(?:make|be) sure (?:to|you|that you) (?:always|never)\b"),
    Phrase(STANDING, "don not never",
           r"\A[\s\"'“(*\-–•]{0,6}(?:and |also |so |but )?(?:please|pls),? (?:don't|do not|never) "
           r"(?!worry|hesitate|get me wrong|be |feel|tell me (?:that|you)|let )"),
    Phrase(STANDING, "don not", rf"^^(?:don't|do not) (?:ever |please )?{_MANNER}\b(?! (?:up|over|worrying))"),
    Phrase(STANDING, "reply respond answer speak",
           r"^^(?:reply|respond|answer|speak)(?: (?:to )?(?:me|us))?(?: only| always)? (?:in|with|as) (?!detail\b|advance\b|this\b)"),
    Phrase(STANDING, "keep", r"^^keep (?:your|all|the) (?:answers?|repl(?:y|ies)|responses?|explanations?|messages?|code|summar(?:y|ies))\b"),
    Phrase(STANDING, "use", r"^^(?:only )?use (?:british|american|us|uk|metric|imperial|celsius|fahrenheit|24[- ]hour|12[- ]hour|iso|si)\b"),
    Phrase(STANDING, "no",
           r"^^no (?:more )?(?:emojis?|bullet points?|jargon|small talk|em[- ]dashes|tables|headings|apologies|disclaimers|filler)\b"),
    Phrase(STANDING, "remember mind forget note",
           r"^^(?:remember|keep in mind|bear in mind|don't forget|note) that (?:i|my|we|our)\b(?!'?\w* (?:said|told|talked|was|were|went|had)\b)"),
    Phrase(STANDING | PROFILE, "call", rf"^^(?:(?:you can|i go by|everyone calls)\s)?call me {_NAME}(?=[.,!;:)\s\"”]*(?:please|not|instead|from|\Z))", "name"),
    Phrase(STANDING | PROFILE, "pronouns", r"\bmy pronouns are\b", "pronouns"),
    # Preferences.
    Phrase(PREFERENCE, "prefer", rf"\bi(?:'d| would| do)? ?{_SURE}prefer\b(?! not to (?:say|answer))"),
    Phrase(PREFERENCE, "rather sooner", r"\bi(?:'d| would) (?:much )?(?:rather|sooner)\b"),
    Phrase(PREFERENCE, "favourite favorite preferred preference preferences",
           r"\bmy (?:(?:all[- ]time|personal|absolute|current|new|usual) )?(?:favou?rites?|preferred|preferences?)\b"),
    Phrase(PREFERENCE, "go", r"\bmy go-to\b"),
    Phrase(PREFERENCE, "fan", rf"{_I_AM}(?:(?:not|really|such|also|a|an|big|huge|massive|much of) ?){{0,4}}\bfan of (?!you|your|that|this|it\b)"),
    Phrase(PREFERENCE, "keen partial fond", rf"{_I_AM}(?:not |really |very |quite |so |also ){{0,2}}(?:keen on|partial to|fond of) "),
    Phrase(PREFERENCE, "hate dislike despise detest loathe stand like eat drink",
           rf"\bi {_SURE}(?:hate|dislike|despise|detest|loathe|can't stand|cannot stand|don't like|do not like|don't eat|don't drink|"
           r"never eat|never drink|don't really like)\b (?!that|this|it\b|to (?:say|see|be|break|hear|admit|think|bother)|when you|you\b|how|seeing|them\b)"),
    Phrase(PREFERENCE, "best", r"\b(?:works?|suits?|fits?) (?:me best|best for me)\b"),
    Phrase(PREFERENCE, "usually normally typically always generally never",
           r"\bi (?:usually|normally|typically|always|generally|never) (?:use|go for|take|eat|drink|write|read|wear|order|buy|wake|avoid|"
           r"choose|pick|stick|fly|sit|pay)\b"),
    Phrase(PREFERENCE | PROFILE, "allergic intolerant vegan vegetarian pescatarian coeliac celiac diabetic teetotal",
           rf"(?:{_I_AM}|\bi've been )(?:\w+ ){{0,2}}(?:allergic to|\w*-?intolerant|vegan|vegetarian|pescatarian|coeliac|celiac|diabetic|teetotal)\b",
           "diet and health"),
    Phrase(PREFERENCE | PROFILE, "allergy allergies", r"\b(?:i have|i've got|my) (?:an? )?(?:\w+ ){0,2}allerg(?:y|ies)\b", "diet and health"),
    # Who the person is.
    Phrase(PROFILE, "name", rf"\bmy (?:full |first |last |sur)?name(?:'s| is) {_NAME}", "name"),
    Phrase(PROFILE, "i", rf"^^(?:i'm|i am) {_NAME}(?=,| and i\b| from\b|[.!]|\Z)(?!, (?:I|but)\b)", "name"),
    Phrase(PROFILE, "m am", rf"{_I_AM}(?:turning )?(?:a )?\d{{1,3}}(?=-year-old| years? old|,| and\b|[.!](?!\d)|\Z)", "age"),
    Phrase(PROFILE, "old", r"\bas an? \d{1,3}-year-old\b", "age"),
    Phrase(PROFILE, "born birthday",
           r"\b(?:i was born (?:in|on)|my birthday(?:'s| is| coming))\b", "birthday"),
    Phrase(PROFILE, "live living based located moved relocated moving",
           r"\bi(?:'m|'ve| am| have)? (?:(?:now|currently|just|recently|still) )?(?:live|living|based|located|moved|relocated|settled) "
           r"(?:back )?(?:in|near|to|at) (?!the (?:moment|past)|fear|peace)", "home"),
    Phrase(PROFILE, "from originally hometown", rf"(?:{_I_AM}(?:originally )?from (?:{_NAME}|the (?-i:[A-Z]))|\bmy (?:hometown|home town|home country) is)", "origin"),
    Phrase(PROFILE, "work working", rf"\bi(?:'m| am)? (?:(?:now|currently|still) )?work(?:ing)? (?:as an? |at {_NAME}|for {_NAME}|in (?:tech|finance|education|healthcare|marketing|sales|hr|it)\b)", "work"),
    Phrase(PROFILE, "job profession occupation employer", r"\bmy (?:(?:new|current|day) )?(?:job|profession|occupation|employer)(?:'s| is)\b", "work"),
    Phrase(PROFILE, "m am career job work", rf"(?:{_I_AM}|\bmy (?:career|job|work) as )an? (?:[\w/-]+ ){{0,4}}{_TRADE}\b", "work"),
    Phrase(PROFILE, "studying majoring study", rf"(?:{_I_AM}(?:studying|majoring in) |\bi study )(?!for\b|this|that)", "work"),
    Phrase(PROFILE, "my", rf"\bmy (?:\w+ )?{_KIN}(?:'s name|,? (?:is|are) (?:named |called )|,? {_NAME}\b| (?:is|are) (?:a|an|\d))", "family"),
    Phrase(PROFILE, "married single divorced engaged pregnant widowed", rf"{_I_AM}(?:not |now |happily |recently |just ){{0,2}}(?:married|divorced|engaged to|pregnant|widowed|a single)\b", "family"),
    Phrase(PROFILE, "have", rf"\bi have (?:an?|one|two|three|four|five|\d) (?:\w+ ){{0,2}}{_KIN}(?:s|ren)?\b", "family"),
    Phrase(PROFILE, "speak language tongue learning",
           r"\b(?:i (?:also )?speak|i'm learning|i am learning|my (?:native|first|mother) (?:language|tongue) is) (?:\w+ ){0,3}"
           r"(?-i:English|German|French|Spanish|Italian|Portuguese|Dutch|Russian|Ukrainian|Polish|Turkish|Arabic|Hebrew|Hindi|Urdu|"
           r"Mandarin|Chinese|Cantonese|Japanese|Korean|Swedish|Norwegian|Danish|Finnish|Greek|Czech|Romanian|Hungarian|Vietnamese|Thai)\b", "languages"),
    Phrase(PROFILE, "dog dogs cat cats puppy puppies kitten kittens rabbit hamster parrot horse turtle pet pets",
           rf"\b(?:my|our) (?:\w+ )?{_PET}(?:'s name|,? (?:is|are)? ?(?:named |called )|,? {_NAME})|"
           rf"\bi(?:'ve)? (?:have|got|own|adopted) (?:an?|two|three|four|\d) (?:\w+ ){{0,2}}{_PET}\b", "pets"),
    Phrase(PROFILE, "laptop computer phone editor ide car bike camera",
           r"\bmy (?:(?:work|main|new|own) )?(?:laptop|computer|phone|editor|ide|car|bike|camera) is (?:an? )?(?-i:[A-Z])", "tools"),
    Phrase(PROFILE, "hobby hobbies", r"\bmy (?:\w+ )?hobb(?:y|ies) (?:is|are|include)\b", "interests"),
    # Promises and things to do.
    Phrase(PROMISE, "ll will going gonna promise promised need have must should gotta got",
           rf"(?<!do )(?<!if )(?<!when )(?<!maybe )(?<!where )\b(?:i|we)(?:'ll| will|'m going to|'re going to| am going to| are going to|'m gonna| promised? (?:\w+ )?to| promised? i'd| need to| have to| must| should|"
           rf" gotta|'ve got to) (?:(?:also|definitely|just|then|still|quickly|really|remember to) ){{0,2}}{_DEED}\b"),
    Phrase(PROMISE, "remind", r"(?:^^|\b(?:can|could|will|would) you (?:please )?)remind (?:me|us) (?:to|about|in|on|at|when|tomorrow)\b"),
    Phrase(PROMISE, "forget remember", rf"^^(?:(?:(?:i|we) must not forget|(?:i|we) must remember|don't let me forget) (?:to|about)|(?:remember|don't forget) to {_DEED})\b"),
    Phrase(PROMISE, "todo to action note", r"^^(?:to-?do|action items?|note to self)\s?:"),
    Phrase(PROMISE, "due deadline",
           r"\b(?:deadline (?:is|of|on|for)|(?:is|are) due (?:on|by|in|next|this|tomorrow|today|monday|tuesday|wednesday|thursday|friday))\b"),
    Phrase(PROMISE, "owe", rf"\bi (?:still )?owe (?:you|him|her|them|my \w+|{_NAME}) (?!one\b|it\b|so much|big)"),
    # What closes a promise.
    Phrase(DONE, "i we ve",
           r"\b(?:i|we)(?:'ve| have)? (?:(?:just|already|finally|now|also) ){0,2}(?:did|done|finished|completed|sent|submitted|paid|booked|reserved|"
           r"called|phoned|e-?mailed|texted|bought|ordered|delivered|signed|fixed|renewed|cancell?ed|returned|picked up|dropped off|"
           r"merged|deployed|shipped|uploaded|shared|forwarded|registered|applied|scheduled|arranged|reviewed|updated|prepared|brought|"
           r"filed|wrote|written|tested|invited|installed|cleaned|repaired|visited|met|handed in|talked to|spoke to|asked|set up)\b"),
    Phrase(DONE, "done finished completed sent submitted paid booked fixed delivered signed merged deployed",
           r"(?:^^|\b(?:is|are|was|were|been|got|all) (?:(?:now|already|finally|all) )?)(?:done|finished|completed|sent|submitted|paid|booked|"
           r"fixed|delivered|signed|merged|deployed)\b(?! with you)"),
    # Decisions.
    Phrase(DECISION, "decided agreed settled opted chose chosen concluded",
           r"\b(?:we|i)(?:'ve| have|'re| are)? (?:(?:finally|now|already|just|all|both|also|ultimately) ){0,2}(?:decided (?!what|which|if|whether)|agreed (?:to|on|that)|settled on|"
           r"opted (?:for|to)|(?:chose|chosen) (?:to |not |the |an? |[\w.-]+ (?:over|as|for|instead)\b)|concluded that)"),
    Phrase(DECISION, "let", r"\blet's (?:go with|use|stick (?:with|to)|switch to|settle on|drop|standardi[sz]e on)\b(?! (?:our|your) imagination)"),
    Phrase(DECISION, "use go switch stick stay adopt drop migrate going",
           r"\b(?:we|i)(?:'ll| will|'re going to| are going to|'m going to| am going to) (?:use .{1,80}\binstead|go with|switch to|stick with|stay with|adopt (?!a (?:dog|cat|pet|child))|migrate to)\b"),
    Phrase(DECISION, "decision decided", r"(?:^^(?:the )?(?:final )?(?:decision|decided)\s?:|\b(?:the|our|my) (?:final )?decision (?:is|was) )"),
    Phrase(DECISION, "going", r"\b(?:we're|we are|i'm|i am) going with (?!my (?:family|friend|wife|husband|kids)|him\b|her\b|them\b|a friend|friends)"),
)  # fmt: skip

# What an assistant notes of the person, at the beginning of a note: "User prefers tea", "Prefers tea".
NOTED = (
    Phrase(PREFERENCE, "prefers likes dislikes hates loves avoids favourite favorite preferred enjoys",
           rf"\A(?:(?:the )?(?:user|person|customer|client)(?:'s)? |{_NAME}(?:'s)? )?(?:(?:strongly|also|really|generally|always) )?"
           r"(?:prefers|likes|dislikes|hates|loves|enjoys|avoids|favou?rite|preferred)\b"),
    Phrase(STANDING, "wants asked always never",
           r"\A(?:the )?(?:user|person|customer|client) (?:(?:wants|asked|asks|expects|told) (?:me|you|us|assistants?|the assistant) (?:to|not to|never to)|(?:always|never) wants)\b"),
    Phrase(STANDING, "wants expects likes needs",
           r"\A(?:the )?(?:user|person|customer|client) (?:always )?(?:wants|expects|likes|needs) (?:(?:all|only|the|your|my|to get|to see|short|brief|concise|"
           r"direct|detailed) ){0,3}(?:answers?|repl(?:y|ies)|responses?|explanations?|summar(?:y|ies))\b"),
    Phrase(STANDING, "always never now default time",
           r"\A(?:the )?(?:user|person|customer|client) (?:wants|expects|likes|needs|asked|asks) .{1,160}\b(?:always|never|from now on|by default|every time|at all times)\b"),
    Phrase(PREFERENCE | PROFILE, "allergic vegan vegetarian",
           rf"\A(?:(?:the )?(?:user|person) |{_NAME} )?(?:is )?(?:\w+ly )?(?:allergic to|vegan|vegetarian)\b", "diet and health"),
    Phrase(PROFILE, "name", rf"\A(?:the )?(?:user|person)'s (?:\w+ )?name is {_NAME}", "name"),
    Phrase(PROFILE, "lives moved based", rf"\A(?:(?:the )?(?:user|person) |{_NAME} )?(?:lives|moved|is based|has moved) (?:in|near|to) ", "home"),
    Phrase(PROFILE, "works", rf"\A(?:(?:the )?(?:user|person) |{_NAME} )?works (?:as|at|for) ", "work"),
    Phrase(DECISION, "decided chose", rf"\A(?:(?:the )?(?:user|person|team) |{_NAME} )?(?:decided|chose) (?:to|on|that|not|against)\b"),
)  # fmt: skip

GERMAN = (
    Phrase(STANDING, "immer nie niemals", r"^^(?:antworte|schreib|schreibe|verwende|nutze|benutze|sprich|nenne?|gib|zeige?|mach|mache|erkläre?)\b.{0,120}\b(?:immer|nie|niemals|stets)\b"),
    Phrase(STANDING, "ab zukünftig künftig", r"^^(?:ab (?:jetzt|sofort|heute)|künftig|zukünftig|in zukunft)\b(?! (?:bin|habe|werde) ich)"),
    Phrase(STANDING, "wenn", r"^^(?:immer )?wenn ich (?:dich )?(?:nach|um|frage|bitte)\b"),
    Phrase(STANDING, "nie niemals nicht keine kein", r"^^(?:verwende|nutze|benutze|schreib|schreibe|schlag|nenn) (?:\w+ ){0,2}(?:nie|niemals|keine?n?|nicht)\b"),
    Phrase(STANDING | PROFILE, "nenn nenne", rf"^^nenne? mich (?:bitte )?{_NAME}", "name"),
    Phrase(PREFERENCE, "bevorzuge lieber liebsten lieblings", r"\b(?:ich bevorzuge|ich (?:\w+ ){0,4}(?:am liebsten|lieber)|ich (?:hätte|würde) (?:\w+ ){0,2}lieber)\b"),
    Phrase(PREFERENCE, "mein meine", r"\bmeine? lieblings\w+"),
    Phrase(PREFERENCE, "mag hasse", r"\bich (?:mag (?:\w+ ){0,3}nicht\b|mag keine?n?\b|hasse |mag (?:sehr )?gern)"),
    Phrase(PREFERENCE | PROFILE, "allergisch vegetarier vegetarierin veganer veganerin vegan", r"\bich (?:bin|reagiere) (?:\w+ ){0,2}(?:allergisch|vegetarier(?:in)?|veganer(?:in)?|vegan)\b", "diet and health"),
    Phrase(PROFILE, "heiße heisse name", rf"\b(?:ich hei(?:ß|ss)e|mein name ist) {_NAME}", "name"),
    Phrase(PROFILE, "wohne lebe ziehe", r"\bich (?:wohne|lebe)\b(?: \w+){0,2} in ", "home"),
    Phrase(PROFILE, "arbeite", r"\bich arbeite\b(?: \w+){0,2} (?:als|bei|für) ", "work"),
    Phrase(PROFILE, "frau mann tochter sohn mutter vater bruder schwester kinder", r"\bmeine? (?P<who>frau|mann|tochter|sohn|mutter|vater|bruder|schwester|kinder)\b (?:heißt|heißen|ist|sind) ", "family"),
    Phrase(PROMISE, "erinnere erinnern", r"\berinnere? mich (?:bitte )?(?:\w+ ){0,2}(?:an|daran|am|morgen|in)\b"),
    Phrase(PROMISE, "schicke sende rufe muss werde", r"\b(?:ich|wir) (?:schicke|schicken|sende|rufe|bezahle|buche|bringe|müssen? noch|muss noch|werde (?:\w+ ){1,4}(?:schicken|senden|anrufen|buchen|bezahlen|kaufen))\b"),
    Phrase(PROMISE, "vergiss", r"^^vergiss nicht\b"),
    Phrase(DONE, "habe haben ist sind", r"\b(?:habe?n?|ist|sind|wurde)\b.{0,60}\b(?:erledigt|geschickt|gesendet|bezahlt|gebucht|angerufen|gekauft|abgegeben|fertig|abgeschlossen)\b"),
    Phrase(DECISION, "entschieden beschlossen", r"\b(?:wir|ich) (?:haben|habe) (?:uns |mich )?.{0,60}\b(?:entschieden|beschlossen|geeinigt)\b"),
    Phrase(DECISION, "nehmen verwenden", r"\b(?:lass uns|wir) (?:nehmen|verwenden|nutzen)\b.{0,60}\b(?:stattdessen|statt)\b"),
)  # fmt: skip

FRENCH = (
    Phrase(STANDING, "toujours jamais", r"^^(?:réponds|répondez|écris|écrivez|utilise|utilisez|donne|donnez|parle|parlez|mets|mettez|n'utilise|ne \w+)\b.{0,120}\b(?:toujours|jamais)\b"),
    Phrase(STANDING, "désormais dorénavant partir", r"^^(?:désormais|dorénavant|à partir de maintenant)\b(?!,? je\b)"),
    Phrase(STANDING, "quand lorsque chaque", r"^^(?:quand|lorsque|chaque fois que) je (?:te |vous )?(?:demande|pose)\b"),
    Phrase(STANDING | PROFILE, "appelle appelez", rf"^^appelle(?:z)?-moi {_NAME}", "name"),
    Phrase(PREFERENCE, "préfère préférerais", r"\bje (?:préfère|préférerais)\b"),
    Phrase(PREFERENCE, "préféré préférée préférés préférées", r"\b(?:mon|ma|mes) (?:\w+ ){1,2}préférée?s?\b"),
    Phrase(PREFERENCE, "aime déteste", r"\b(?:je n'aime pas|je déteste|j'aime (?:mieux|bien|beaucoup))\b"),
    Phrase(PREFERENCE | PROFILE, "allergique végétarien végétarienne végan", r"\bje suis (?:\w+ ){0,2}(?:allergique|végétarien(?:ne)?|végane?)\b", "diet and health"),
    Phrase(PROFILE, "appelle nom", rf"\b(?:je m'appelle|mon nom est) {_NAME}", "name"),
    Phrase(PROFILE, "habite vis", r"\b(?:j'habite|je vis)\b(?: \w+)? (?:à|en|au|dans|près) ", "home"),
    Phrase(PROFILE, "travaille", r"\bje travaille (?:comme|chez|pour|en tant) ", "work"),
    Phrase(PROFILE, "femme mari fille fils mère père frère sœur soeur", r"\b(?:mon|ma) (?P<who>femme|mari|fille|fils|mère|père|frère|s(?:œ|oe)ur)\b (?:s'appelle|est) ", "family"),
    Phrase(PROMISE, "rappelle rappelez", r"\brappelle(?:z)?-moi (?:de|d'|que|demain)"),
    Phrase(PROMISE, "dois vais devons", r"\b(?:je dois|je vais|nous devons|il faut que je) (?:\w+ )?(?:envoyer|appeler|réserver|payer|acheter|finir|terminer|rendre|rappeler|écrire|apporter)\b"),
    Phrase(PROMISE, "oublie", r"^^n'oublie(?:z)? pas (?:de|d')"),
    Phrase(DONE, "ai avons est", r"\b(?:j'ai|nous avons|c'est)\b.{0,20}\b(?:envoyé|appelé|réservé|payé|acheté|fini|terminé|rendu|fait)\b"),
    Phrase(DECISION, "décidé choisi", r"\b(?:nous avons|on a|j'ai) (?:\w+ )?(?:décidé|choisi) (?:de|d'|que)"),
    Phrase(DECISION, "prenons utilisons partons", r"^^(?:prenons|utilisons|partons sur)\b"),
)  # fmt: skip

SPANISH = (
    Phrase(STANDING, "siempre nunca", r"^^(?:siempre|nunca) (?:responde|responda|usa|usas|use|uses|escribe|escriba|incluye|incluya|respondas|escribas|muestra|explica|pon)\b"),
    Phrase(STANDING, "siempre nunca", r"^^(?:responde|usa|escribe|habla|incluye|explica)\b.{0,120}\b(?:siempre|nunca)\b"),
    Phrase(STANDING, "ahora adelante", r"^^(?:a partir de ahora|de ahora en adelante|en adelante)\b(?!,? (?:yo|voy)\b)"),
    Phrase(STANDING, "cuando", r"^^(?:cuando|cada vez que) te (?:pregunte|pida|mande)\b"),
    Phrase(STANDING | PROFILE, "llámame", rf"^^llámame {_NAME}", "name"),
    Phrase(PREFERENCE, "prefiero preferiría", r"\b(?:prefiero|preferiría)\b"),
    Phrase(PREFERENCE, "favorito favorita favoritos favoritas", r"\bmis? (?:\w+ ){1,2}favorit[oa]s?\b"),
    Phrase(PREFERENCE, "gusta gustan odio", r"\b(?:no me gustan?|odio|me gustan? (?:mucho|más))\b"),
    Phrase(PREFERENCE | PROFILE, "alérgico alérgica vegetariano vegetariana vegano vegana", r"\bsoy (?:\w+ ){0,2}(?:alérgic[oa]|vegetarian[oa]|vegan[oa])\b", "diet and health"),
    Phrase(PROFILE, "llamo nombre", rf"\b(?:me llamo|mi nombre es) {_NAME}", "name"),
    Phrase(PROFILE, "vivo mudé", r"\b(?:vivo|me mudé) (?:\w+ )?(?:en|a) ", "home"),
    Phrase(PROFILE, "trabajo", r"\btrabajo (?:como|en|para) ", "work"),
    Phrase(PROFILE, "esposa esposo marido mujer hija hijo madre padre hermana hermano", r"\bmi (?P<who>esposa|esposo|marido|mujer|hija|hijo|madre|padre|hermana|hermano)\b (?:se llama|es) ", "family"),
    Phrase(PROMISE, "recuérdame", r"\brecuérdame\b"),
    Phrase(PROMISE, "tengo voy tenemos debo", r"\b(?:tengo que|voy a|tenemos que|debo) (?:enviar|mandar|llamar|reservar|pagar|comprar|terminar|entregar|escribir|llevar)\b"),
    Phrase(PROMISE, "olvides", r"^^no (?:te )?olvides (?:de )?"),
    Phrase(DONE, "he hemos ya está", r"\b(?:(?:ya )?(?:he|hemos)|está)\b (?:\w+ )?(?:enviado|mandado|llamado|reservado|pagado|comprado|terminado|entregado|hecho)\b"),
    Phrase(DECISION, "decidido decidimos", r"\b(?:hemos decidido|decidimos|he decidido|decidí)\b"),
    Phrase(DECISION, "usemos usaremos vamos", r"^^(?:usemos|usaremos|vamos a usar)\b"),
)  # fmt: skip

PHRASES = (*ENGLISH, *GERMAN, *FRENCH, *SPANISH)
