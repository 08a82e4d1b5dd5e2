"""Scenes that two friends write to each other; `corpus` reads them. All of it was written for these tests: nobody real, nothing quoted.

Several versions of a scene stand in one person's memory with other places, things and numbers, so that each distracts from the others.
"""

CHATS = (
    """
    place: Varna | Split | Ghent | Turku | Trieste | Cork
    price: seventy-four | ninety-two | sixty | a hundred and ten | eighty-five | fifty-one
    food: grilled mackerel | chestnut soup | rye buns with caraway | stuffed peppers | rabbit stew | plum dumplings
    lost: my umbrella | a grey scarf | my sunglasses | the phone charger | one of my gloves | my library book
    train: the sleeper | a coach | two slow trains | the ferry | a borrowed van | the early flight
    A: We're back from {place}! Five days, and it rained on three of them.
    B: {Worth it all the same?|Did you see any sun at all?}
    A: {Oh yes. We walked and walked.|It was. The old streets are lovely when nobody else is out.}
    B: How did you get there?
    [way] A: {Took {train} in the end.|By {train}, which was cheaper than I feared.}
    B: And somewhere decent to sleep?
    [room] A: A little guest room over a bakery, {price} a night with breakfast.
    B: {Not bad these days.|I'd have paid that for the smell alone.}
    [dish] A: The best thing I put in my mouth was {food}. I still think about it.
    B: {Now I'm hungry.|Stop it, I've only had toast.}
    A: Ha, sorry.
    B: Anything go wrong?
    [gone] A: Left {lost} on a bench, of course. Never saw it again.
    ? conversation room: What did {A} pay for lodging in {place}?
    ? around way: How did {A} travel to {place}?
    ? conversation gone: What went missing on {A}'s trip to {place}?
    ? paraphrase dish: Which meal did {A} enjoy most in {place}?
    """,
    """
    pet: bees | hens | stick insects | rabbits | tree frogs | pigeons
    years: three years | since I was nineteen | about six months | eight years | two summers | a year and a half
    from: an uncle who moved into a flat | a farm sale | a classmate | the woman at the allotment | an advert in the shop window | a school that closed
    cost: forty a month | next to nothing | two hundred a year | the price of a coffee a week | fifteen a month | more than my own lunch
    A: I had to get up at five again because of the {pet}.
    B: {Rather you than me.|At five! In this cold!}
    A: {They get restless when it's windy.|One had got out, and the others were upset.}
    B: How long have you had them now?
    [years] A: {Well, {years}.|Must be {years}, I think.}
    B: And where did you get them?
    [from] A: From {from}.
    B: {Is it expensive?|That must cost a bit.}
    [cost] A: Not really, {cost}.
    B: {I could never.|I'd like to see that some day.}
    A: Come by, you can hold one.
    ? pronoun years: How long has {A} kept {pet}?
    ? pronoun from: Who did {A}'s {pet} come from?
    ? pronoun cost: What does {A} spend on the {pet}?
    """,
    """
    room: kitchen | hallway | bathroom | attic | study | balcony
    colour: sage green | a dusty pink | mustard | slate | off-white, I know | dark teal
    floor: cork | bare boards | terracotta tiles | lino | old parquet from a school | slabs of grey stone
    who: my cousin | a man from the next village | two students | nobody but me | my neighbour's son | a firm from across the river
    A: {Still dust everywhere. The {room} will be the end of me.|You should see the {room}. It looks like a building site.}
    B: {Courage! How far are you?|Is there an end in sight?}
    A: The walls are plastered, at least.
    B: Which colour did you settle on?
    [colour] A: {{colour}, in the end.|We took {colour}.}
    B: {Brave.|Good choice.} And underfoot?
    [floor] A: {floor}. Warm in winter and easy to sweep.
    B: Who does the work?
    [who] A: {who}. {Slow, but careful.|I can't complain.}
    A: I saw a magazine with the same colour on every wall and thought, not in my {room}.
    B: {Ha.|Magazines.}
    ? answers colour: What colour is {A}'s {room} now?
    ? paraphrase floor: What is the flooring in {A}'s {room} made of?
    ? answers who: Who renovates the {room} for {A}?
    """,
    """
    band: the Lantern Keepers | Slow Ferry | the Brass Moths | Northern Attic | Tin Orchard | the Paper Wolves
    mine: far too loud | the best night of the month | over before it began | a bit of a muddle | moving, the last song above all | worth every penny
    yours: sleepy, to be honest | better than on the record | full of people filming | clever, but cold | wonderfully silly | exactly what I needed
    A: So, {band} last night! What did you think?
    [b] B: I found {band} {yours}.
    [a] A: Funny. For me {band} was {mine}.
    B: {We never agree.|It would be dull if we agreed.}
    A: {The drummer of {band} is from our street, did you know?|Somebody said {band} will come back in autumn.}
    B: {Small world.|No!}
    A: {I'd go again if you come along.|Next time you choose.}
    ? who a: What did {A} make of the concert by {band}?
    ? who b: What was {B}'s opinion of {band}?
    """,
    """
    route: purple | yellow | striped | orange | black | turquoise
    body: shoulder | left knee | little finger | ankle | back | elbow
    with: Edda's brother | the new trainer | a stranger in yellow socks | nobody | the whole office | my old teacher
    A: {Was at the climbing hall again today.|Just home from the climbing hall.}
    B: {And? Still alive?|How was it?}
    [route] A: {Finished the {route} one at the third go!|The {route} one, without a rest!}
    B: {Bravo!|You're getting good.}
    [body] A: Now my {body} hurts, though.
    B: {Poor you. Ice on it.|You always say that.}
    [with] A: I climbed with {with} this time.
    ? date route: Which route did {A} manage at the climbing hall around {near}?
    ? date body: What hurt after {A} had been to the climbing hall around {near}?
    ? date with: Who went climbing with {A} in the days around {near}?
    """,
    """
    thing: boiler | washing machine | front door | gutter | shower | fridge
    when: last Tuesday | yesterday | three weeks ago | on the ninth of the month | the Friday before last | in the first week of the holidays
    since: in March | the week before | two months ago | on my birthday last year | a year ago | since Monday
    sound: an aeroplane | a sad cow | someone sanding a table | a kettle | a distant motorway | a purring cat
    A: {Our {thing} is a story of its own.|Don't ask me about the {thing}.}
    B: {Tell me.|What about it?}
    A: A new {thing} costs as much as a used car, it turns out.
    B: {They do, and you can't do without a {thing}.|My brother says the {thing} is always the first to go.}
    [when] A: {The fitter came {when} and put the new one in.|It was changed {when}.}
    B: {Finally.|At last.}
    [sound] A: The new {thing} sounds like {sound}, but it works.
    B: I still have the {thing} that came with the flat.
    [broke] A: {The old {thing} had given up {since}.|The old {thing} was already dead {since}.}
    A: Keep that {thing} as long as you can.
    B: {So your old {thing} broke down and has been replaced.|Mine broke down, too, and the {thing} was replaced by the landlord.}
    A: {When a {thing} breaks down, it breaks down.|Everybody's {thing} breaks down and gets replaced, they say.}
    ? time when: When was {A}'s {thing} replaced?
    ? time broke: When did {A}'s old {thing} break down?
    ? words sound: What does {A}'s new {thing} sound like?
    """,
    """
    club: choir | chess club | rowing club | pottery class | reading circle | sewing group
    one: Mondays at seven | Tuesdays at half past six | Wednesdays after work | Thursdays at eight | Fridays at five | Sundays before noon
    two: Mondays at nine | Tuesdays at noon | Wednesdays at eight | Thursdays at four | Fridays at seven | Sundays at six
    A: {What's new with you?|How are things?}
    B: {Busy, busy.|The usual.} And you?
    A: I'm off in a minute.
    [one] A: Our {club} meets on {one}.
    B: {Every week? You're keen.|Enjoy it!}
    A: {It keeps me sane.|It's the one evening that is mine.}
    ---
    B: Are you free later on?
    A: Not tonight, sorry.
    [two] A: Our {club} meets on {two}.
    B: {Ah. Tomorrow, then.|Next time.}
    A: {Tomorrow is fine.|Gladly.}
    ? update two: On which day does {A}'s {club} meet?
    """,
    """
    book: The Salt Ledger | A House of Tides | Nine Winters | The Clockmaker's Daughters | Under the Quarry | Letters to a Ferryman
    who: my dentist | the postwoman | somebody on the tram | our old neighbour | a podcast | my aunt in the hills
    end: the lighthouse goes dark | nobody is who they said | the sisters make peace | the dog was there all along | the village is flooded | it turns out to be a dream
    A: I finished {book} on the train and missed my stop.
    B: {That good?|Ha! That good, or that long?}
    A: {I couldn't put it down.|The middle drags, then it flies.}
    B: {How did you come across it?|Who told you to read it?}
    [who] A: {who}, of all people.
    B: {Don't tell me the ending.|How does it end? I won't read it anyway.}
    [end] A: {Well, {end}.|At the end {end}.}
    B: {Oh no.|I guessed as much.}
    ? answers who: Who recommended {book} to {A}?
    ? pronoun end: What happens at the end of {book}?
    """,
    """
    code/code2: KR-7714/KR-1774 | TX-0492/TX-2940 | ML-3306/ML-6033 | QD-8851/QD-5188 | VN-1207/VN-7021 | ZB-6640/ZB-4066
    spot: behind the flour tin | in the blue folder | under the stairs | in the glove box | at my mother's | on the top shelf, left
    spot2: in the shed | in the third drawer | inside the piano stool | with the camping things | at the office | in the biscuit box
    B: {I'm tidying. Everything has to go somewhere.|New year, new order. I'm sorting our papers and parts.}
    [one] B: The spare part {code} is {spot}.
    A: {Noted.|Good to know.}
    [two] B: The spare part {code2} is {spot2}.
    A: {And the receipts?|You have a place for everything.}
    B: Receipts go where the spare parts go, or nearly.
    A: {I'd only lose them.|I keep no spare part of anything.}
    ? words one: Where is {code}?
    ? words two: Where did {B} put {code2}?
    """,
    """
    rare: turpentine | beeswax | lampblack | shellac | pumice | linseed oil
    rare2: a mandolin string | camphor | birdseed | a darning egg | borax | candle wicks
    B: {Going to the shop before the painting starts?|I'm passing the shop, do you need anything for the painting?}
    [one] A: Nails, {rare}, string, light bulbs, stamps for my aunt's letters, and something against the moths.
    B: {That's a whole painter's workshop! Is all of it for the painting?|All that for the painting? Do you open a shop?}
    A: {Half of it.|No, the painting needs hardly anything.}
    B: {I still need brushes for my own painting.|My own painting waits until summer.}
    [two] A: If they have it: {rare2}, cough drops, soap, a mousetrap, and whichever newspaper has the crossword.
    B: {Is that a shopping list or a poem?|I'll write that on my hand.}
    ? words one: Was {rare} needed from the shop for the painting?
    ? words two: Who wanted {rare2} from the shop?
    """,
    """
    line: number four | harbour | blue | mountain | eastern | express
    bridge: rope | mill | upper | iron | chain | priory
    ---
    A: What does the board say?
    [old] B: The {line} tram isn't running.
    A: And on foot?
    [shut] B: The {bridge} bridge is closed.
    ---
    A: What does the board say?
    [new] B: The {line} tram isn't running.
    A: And on foot?
    [still] B: The {bridge} bridge is closed.
    ---
    ? update new: Is the {line} tram running?
    ? update still: Is the {bridge} bridge open or closed?
    """,
    """
    verb/verbing: repaired/repairing | grafted/grafting | varnished/varnishing | whittled/whittling | soldered/soldering | embroidered/embroidering
    thing: an old deckchair | something for the garden | a present for my sister | one piece that had been lying about | a thing for the hall | a little box
    verb2/verbing2: pickled/pickling | bleached/bleaching | sharpened/sharpening | waxed/waxing | stitched/stitching | welded/welding
    thing2: what the neighbours left | half of what we had | everything within reach | the lot from the market | what my brother brought | three of them
    A: {What a Sunday. No phone, no news.|A quiet weekend here.}
    B: {What did you do with it?|Tell me everything.}
    [one] A: {I {verb} {thing} and felt useful.|In the morning I {verb} {thing}.}
    B: {Look at you.|Handy!}
    A: {Then I had a nap.|Then soup.}
    [two] A: {Later I {verb2} {thing2}.|And then I {verb2} {thing2}, with the radio on.}
    B: {And I've only looked at a screen.|I mended a sock. Does that count?}
    ? inflected one: Which things has {A} been {verbing}?
    ? inflected two: What was {A}'s {verbing2} about?
    """,
    """
    fact/asked: I can't stand heights/Is {A} afraid of tall towers and cliffs?
    fact/asked: I haven't touched a drop since spring/Has {A} given up alcohol?
    fact/asked: I was an only child/Does {A} have brothers or sisters?
    fact/asked: I failed my driving test four times/Was it hard for {A} to get a licence for the car?
    fact/asked: My heart skips a beat when I climb stairs/Does {A} have a cardiac problem?
    fact/asked: I never finished my degree/Did {A} drop out of university?
    fact2/asked2: I still owe my sister for the car/Is {A} in debt to a relative?
    fact2/asked2: I sleep four hours at best/Does {A} suffer from insomnia?
    fact2/asked2: My eyes are getting worse by the month/Is {A}'s vision deteriorating?
    fact2/asked2: I sing in the bath every day/Where does {A} make music at home?
    fact2/asked2: I grew up above a butcher's/What was {A}'s childhood home like?
    fact2/asked2: My boss put me on nights/Has {A}'s shift at the company changed?
    fact3/asked3: I proposed on the ferry and she laughed, then nodded/How did {A} get engaged?
    fact3/asked3: We lost the baby's first shoes/Which keepsake of their infant has {A}'s family mislaid?
    fact3/asked3: The bank turned us down again/Was {A}'s mortgage application rejected?
    fact3/asked3: I gave notice this morning/Did {A} resign?
    fact3/asked3: My father and I don't speak/Is {A} estranged from a parent?
    fact3/asked3: I've put on ten kilos/Has {A}'s weight increased?
    A: {Can I tell you something?|Something I never told you.}
    B: {Always.|Of course.}
    [fact] A: {fact}.
    B: {I had no idea.|You hide it well.}
    A: {Now you know.|It's not a secret, I just never say it.}
    [fact2] A: And {fact2}.
    B: {Oh dear.|We all have something.}
    A: {Enough of me.|That felt good to say.}
    [fact3] A: {fact3}, by the way.
    B: {What!|You should have begun with that.}
    A: {I know, I know.|Let's have tea and I'll explain.}
    ? paraphrase fact: {asked}
    ? paraphrase fact2: {asked2}
    ? paraphrase fact3: {asked3}
    """,
    """
    job: the harbour office | a seed company | the city archive | a bicycle workshop | the music school | a translation bureau
    pay: a little less than before | enough for the rent and a bit | a third more | the same, but four days | by the piece | nothing the first month
    boss: laughs at her own jokes | wears a hat indoors | answers letters by hand | used to be a sailor | never shuts a door | brings her parrot
    hours: from noon to eight | from six to two | whenever I like | every other weekend | three long days | nine to five, dull as it sounds
    A: {I start on Monday! {job}, can you believe it?|They took me! {job}!}
    B: {Congratulations!|I never doubted it.}
    A: {I was sure they'd take the other one.|I cried in the lift.}
    B: {So tell me about the conditions.|And is it well paid?}
    [pay] A: {pay}.
    B: {That's fair.|You'll manage.} What are the people like?
    [boss] A: The woman in charge {boss}. I like her already.
    B: And the hours?
    [hours] A: {hours}.
    B: {Then we can still have our walks.|I'm so glad for you.}
    ? pronoun pay: What is the salary in {A}'s job at {job}?
    ? conversation boss: What is {A}'s manager at {job} like?
    ? pronoun hours: What are {A}'s working times at {job}?
    """,
    """
    party: Nora's wedding | grandpa's ninetieth | the street party | the school reunion | Emil's farewell | the housewarming
    gift: a quilt | a lamp made of driftwood | a cheque, I'm afraid | a crate of pears | an atlas from 1911 | a voucher for the baths
    wear: the green dress | my father's suit | whatever still fits | a borrowed jacket | something with pockets | the shoes that pinch
    bring: a potato salad | two bottles of cider | the folding chairs | a trifle | the good speakers | nothing, they said
    A: {Are you coming to {party}?|{party} is on Saturday, don't forget.}
    B: {Wouldn't miss it.|If my leave is granted.}
    A: What will you give?
    [gift] B: {gift}.
    A: {Lovely.|They'll like that.} I'm bringing something to eat, you?
    [bring] B: {bring}.
    A: {Half of town will be there.|I hope the rain holds off.}
    B: {It always rains on us.|I've ordered sun.}
    A: Still no idea what to put on.
    [wear] B: I'll wear {wear}.
    A: {Then I can too.|You look good in anything.}
    ? around gift: What is {B}'s present for {party}?
    ? answers bring: What will {B} contribute to the table at {party}?
    ? conversation wear: What is {B} going to be dressed in at {party}?
    """,
    """
    child: Ida | Oskar | Milo | Greta | Anton | Lotte
    scare: the hoover | balloons | men with beards | the moon | escalators | geese
    word: bus | more | owl | shoe | no, of course | cheese
    A: {child} kept us up again.
    B: {Teeth?|Poor thing. Poor you.}
    A: {Who knows.|Teeth, or dreams.}
    B: {Is there anything that helps?|And by day?}
    [scare] A: By day all is well, only {scare} makes the little one scream.
    B: {Mine was the same.|That passes.} Any first words yet?
    [word] A: "{word}". Said quite clearly, twice.
    B: {Clever!|It begins.}
    A: {child} takes after my mother.
    B: {child} is a lovely name, I've always said so.
    ? paraphrase scare: What is {child} afraid of?
    ? pronoun word: What did {child} say first?
    """,
    """
    team: the Herons | Dock United | the Foxes | St Olave's | the Wanderers | Mill Lane
    score: four nil | one all | two to three | six to five on penalties | nil nil, again | three one
    where: the pub by the canal | a friend's cellar | the stand, in the rain | bed, with a cold | the car, on the radio | my sister's
    A: {Did you watch {team}?|Say something about {team}, I need to talk.}
    B: {I only heard about it.|I fell asleep.} What was the result?
    [score] A: {score}.
    B: {Ouch.|Well, well.} Where did you see it?
    [where] A: In {where}.
    B: {I'd rather read a book than watch {team}.|They'll never learn.}
    A: {team} break my heart every year.
    B: {And every year you go back to {team}.|You could follow somebody else than {team}.}
    A: {Never.|One doesn't choose.}
    ? answers score: How did the match of {team} end that {A} watched?
    ? around where: Where did {A} watch {team}?
    """,
    """
    cue/reply/asking: Do you earn more there?/About a third./Did {A}'s salary rise?
    cue/reply/asking: And the kidneys, what does the vet say?/Not much to be done./How ill is {A}'s cat?
    cue/reply/asking: Is your mother still cross with you?/She has hung up twice./Is there a quarrel between {A} and a parent?
    cue/reply/asking: What will you study, if they accept you?/Something with maps./Which subject would {A} take at university?
    cue/reply/asking: Does the landlord want you out?/By the end of summer./Is {A} being evicted?
    cue/reply/asking: Have you given up smoking for good?/Nearly. One on Fridays./Does {A} still use cigarettes?
    cue2/reply2/asking2: Which wine goes with it?/None, I'm driving./Why does {A} stay sober at dinner?
    cue2/reply2/asking2: Did the doctor give you something for your nerves?/Drops, they taste of hay./Which medication does {A} take against anxiety?
    cue2/reply2/asking2: Whom did you vote for?/The one with the bicycle./Which candidate got {A}'s ballot?
    cue2/reply2/asking2: Was the flat burgled while you slept?/All they took was cheese./What did the thieves steal from {A}?
    cue2/reply2/asking2: Do you pray before you eat?/My grandmother did it for all of us./Is {A} religious?
    cue2/reply2/asking2: Did the exam go badly?/I left after ten minutes./How did {A}'s test turn out?
    A: {Ask me anything, I'm stuck in a queue.|I'm waiting for my number to come up. Talk to me.}
    B: {cue}
    [one] A: {reply}
    B: {I see.|Hm.}
    A: {Somebody is pushing in.|Still nine people.}
    B: {cue2}
    [two] A: {reply2}
    B: {Right.|Fair enough.}
    A: {My turn!|Now it's me, bye!}
    ? beside one: {asking}
    ? beside two: {asking2}
    """,
)

SMALL_TALK = (
    "Good morning!",
    "Morning. Slept well?",
    "So-so. And you?",
    "Like a stone.",
    "Is it raining where you are?",
    "Pouring.",
    "Talk later, the bus is here.",
    "Say hello to everyone.",
    "Ha, that's so you.",
    "I was just thinking of you.",
    "Anyway. What else is new?",
    "Nothing much, the days go by.",
    "My tea is getting cold.",
    "Same here, and I'm happy with that.",
    "Did you see the sunset yesterday?",
    "I took a picture, I'll show you.",
    "We really should meet again.",
    "Yes! Soon. Let me look at the calendar.",
    "I can't believe it's {month} already.",
    "Time flies.",
)
