"""Scenes of a person with an assistant; `corpus` reads them. All of it was written for these tests: nobody real, nothing quoted.

U is the person, S the assistant, who answers at length and says the question's words more often than the person did.
"""

LOGS = (
    """
    dish: lentil soup | pancakes | focaccia | a birthday cake | fish stew | pumpkin risotto
    guests: eleven | six | nine | four | fourteen | seven
    tip: a spoon of miso | smoked paprika | a bay leaf, taken out early | lemon peel | a knob of brown butter | toasted cumin
    U: I want to cook {dish}. How do I begin?
    S: {dish} is a good choice. To cook {dish}, begin with the things that take longest: wash and cut everything, warm the pan, and keep the heat low. How many guests will eat {dish}? Quantities for {dish} depend on it, and so does the size of the pot. Many people begin {dish} too hot.
    [guests] U: We'll be {guests} at the table.
    S: Then take a large pot, and count on one and a half portions a head. For {dish} you can prepare the base a day ahead; it will taste better for it.
    U: It tastes a bit flat so far.
    [tip] S: {Try {tip}. It brings out the rest without standing out itself.|I'd add {tip}, right before serving, and taste again.}
    U: {That worked, thank you!|Much better.}
    ? user guests: How many people did I want to feed with {dish}?
    ? assistant tip: What did you recommend to give {dish} more flavour?
    """,
    """
    lang: Rust | Kotlin | Elixir | Julia | Go | Haskell
    proj: the weather station | a seating plan for weddings | the archive of our choir | a game about lighthouses | the shop's stock list | my running diary
    error: a deadlock on shutdown | an off-by-one in the paging | a missing migration | times in the wrong zone | a leak of file handles | characters that come out as boxes
    fix: join the worker before closing the channel | count from zero in both places | run it by hand once | store UTC and convert at the edge | close it in a finally block | read the file as UTF-8
    U: I'm writing {proj} in {lang}.
    S: {lang} suits {proj} well. A sensible structure for {proj} in {lang} keeps input, rules and storage apart: parse at the edge, decide in plain functions, and write in one place. In {lang}, tests of the rules then need nothing else. Would you like an outline of the modules for {proj}?
    U: {No, I have that. It stops working now and then.|Not yet. First I need help with a fault.}
    S: Faults that come and go have three usual causes: shared state, time, and limits of the system. Show me the log of {proj} and what changed last. Did {lang} or a library get an update?
    [error] U: {Found it: it's {error}.|It was {error} after all.}
    [fix] S: {Then {fix}.|In that case, {fix}, and add a test that fails without it.}
    U: {Works. Thanks.|That was it!}
    ? user error: What was the bug I had in {proj}?
    ? assistant fix: What did you suggest against the fault in my {lang} program?
    """,
    """
    city: Lisbon | Oslo | Kraków | Bologna | Tallinn | Ljubljana
    days: four days | a long weekend | ten days | one night only | two weeks | six days
    walk: along the river to the old mill | through the botanical garden at opening time | up the hill behind the station | around the harbour at dusk | past the three markets | on the city wall
    money: 600 in all | 80 a day | 1,200 for both of us | as little as possible | 450, trains included | 95 a night at most
    U: I'm planning a visit to {city}.
    S: {city} rewards slow travellers. For a visit to {city}, consider when you go, how long you stay, your budget, and what you like to see. The centre of {city} can be walked in a day; museums in {city} are often closed on Mondays, and budget travellers find rooms near the station.
    [days] U: I'll have {days}.
    S: Good. That leaves time for the sights and for sitting down. What's the budget for {city}?
    [money] U: {money}.
    S: That is possible in {city} if you eat where people work, at noon. Budget for museums separately.
    U: Is there a walk you'd take?
    [walk] S: {I'd go {walk}.|My suggestion is to walk {walk}, without a map.}
    U: {Lovely.|I'll do that.}
    ? user days: How long did I plan to stay in {city}?
    ? user money: What was my budget for the journey to {city}?
    ? assistant walk: Which walk did you suggest in {city}?
    """,
    """
    plant: fig | lemon tree | rosemary | fern | chilli | olive
    spot: the north window sill | the landing | my desk | the windy balcony | a stool by the radiator | the bathroom shelf
    cause: too much water | spider mites | a pot that is too small | cold draughts | hard tap water | too little light
    U: My {plant} is losing its leaves.
    S: A {plant} that loses leaves is reacting to a change. With a {plant}, look at water, light, warmth, soil and pests, in this order. Leaves of a {plant} may turn yellow first from too much water, and dry at the rim from too little. Where does the {plant} stand, and how often do you water your {plant}?
    [spot] U: It stands on {spot}.
    S: That place can work for a {plant} if the air moves a little and the leaves stay dry. Have a look at the underside of the leaves.
    U: {I see nothing odd.|There are some spots.}
    [cause] S: {Then the likely cause is {cause}.|I'd say {cause}; that fits what you describe.}
    U: {I'll change that.|Makes sense.}
    ? user spot: Where do I keep the {plant}?
    ? assistant cause: What did you say is wrong with my {plant}?
    """,
    """
    U: Could you help me with an e-mail to the {landlord|tax office|caretaker|insurance}?
    S: Of course. A good e-mail has one concern, one request and one date. Tell me what happened, what you want, and by when.
    U: {They owe me an answer since {month}.|It's about a bill that is wrong.}
    S: Here is a draft: "Dear Sir or Madam, I wrote to you about the matter below and would be glad of an answer within fourteen days. Kind regards". You can add the number of your file.
    U: {Good enough.|I'll send it like that.}
    """,
    """
    U: {Explain photosynthesis to a child.|Explain to me how tides work.|Why is the sky blue?}
    S: Let me begin with something that you can see for yourself. Take a glass of water and a lamp, and look at what the light does; the rest follows from that. Ask me where it gets unclear, and I'll go on from there with an example.
    U: {Go on.|And in one sentence?}
    S: In one sentence: energy arrives, something takes it up and passes it on, and what we see is what is left over.
    """,
)

# One of these in a conversation of its own, and questions of the day that share no word with it.
STANDING = {
    "Always give weights in grams when I ask for recipes.": (
        "Can you give me a quick pancake idea for four?",
        "How do I make a good focaccia dough?",
    ),
    "From now on, answer in no more than three sentences.": (
        "Why does bread dough rise more slowly in the cold?",
        "How do the museums in Oslo open during the holidays?",
    ),
    "Never use tabs in code you write for me.": (
        "Write a function that parses the stock list file.",
        "Show me a small program for the weather station.",
    ),
    "When I ask about trips, always list trains before flights.": (
        "How do I get to Ljubljana for the weekend?",
        "What is the best way to reach Tallinn?",
    ),
    "Please don't start your replies with praise.": (
        "Here is my draft e-mail for the caretaker, what do you think?",
        "Is my plan for the birthday cake any good?",
    ),
    "Always mention the botanical name as well.": (
        "Which plants thrive on a windy balcony?",
        "Why does my lemon tree drop leaves?",
    ),
}
PREFERENCES = {
    "I prefer window seats, and I get sick in the back row.": (
        "Book a coach to Bologna for me, which place should I take?",
        "What should I look for in a bus to Oslo?",
    ),
    "I really hate coriander.": (
        "What could I put into the pumpkin risotto?",
        "Suggest a topping for lentil soup.",
    ),
    "I'm allergic to walnuts.": (
        "Which cake should I bake for the birthday?",
        "Is there a snack for the long train ride to Kraków?",
    ),
    "I'd rather work in the evening than in the morning.": (
        "Plan a day of writing on the running diary for me.",
        "When should I fix the fault in the seating plan?",
    ),
    "My favourite material is wood, plastic makes me sad.": (
        "Which pot should I get for the olive?",
        "What kind of shelf would suit the bathroom fern?",
    ),
    "I usually avoid museums, crowds wear me out.": (
        "What is there to do in Lisbon in four days?",
        "Make a plan for a rainy day in Tallinn.",
    ),
}

# About other things, so that what is asked for stands among much that was said.
DAYS = (
    "{Remind me, what|What} is the capital of {Peru|Laos|Ghana|Latvia|Oman|Fiji}?",
    "Translate '{good luck|see you soon|how much is it|many thanks}' into {Danish|Greek|Welsh|Finnish}, please.",
    "How many {grams|ounces|litres} are in a {pound|gallon|stone|pint}?",
    "{Give|Find} me a rhyme on {orange|silver|window|gravel|thunder}.",
    "What does '{perfunctory|liminal|quixotic|sanguine|laconic}' mean?",
    "{Shorten|Improve} this: '{We regret to inform you of a delay.|The meeting was moved again.|Our team grew this year.}'",
)
REPLIES = (
    "{Here you are|Certainly}: there are several ways to put it, and the first one is the most usual. Say if you'd like the others.",
    "{Short answer first|In brief}: it depends on the country, but the common value is the one you expect.",
    "{Gladly|With pleasure}. I'd use the plain form; the longer one sounds stiff to most ears today.",
)
