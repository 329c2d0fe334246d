"""Conversations: story requests with questions about the story, and small questions with short answers."""
import re

from story_plots import CLAUSES, TOPICS, cap, nonsense, polish, story, title
from story_world import ADULTS, ANIMALS, BOYS, FANTASY, GIRLS, OBJECT_NOUNS

ME = "Ember"
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
OPPOSITES = """hot cold|big small|up down|left right|day night|happy sad|fast slow|tall short|hard soft|light dark|open closed|wet dry|full empty|young old|near far
|early late|loud quiet|clean dirty|good bad|rich poor|strong weak|heavy light|high low|thick thin|wide narrow|sweet sour|true false|first last|black white|in out
|on off|begin end|yes no|always never|over under|inside outside|front back|brave afraid|rough smooth|sharp dull|easy difficult|warm cool|long short|push pull
|give take|win lose|laugh cry|awake asleep|summer winter|new old|right wrong|before after|love hate|start stop|same different|deep shallow|kind mean|cheap expensive
|lost found|noisy silent|friend enemy|more less|come go|buy sell|remember forget|beautiful ugly|clever foolish|safe dangerous|alive dead|hello goodbye""".replace("\n", "").split("|")
COLORS = """the sky=blue|grass=green|snow=white|the sun=yellow|a banana=yellow|a lemon=yellow|a strawberry=red|a tomato=red|a cherry=red|a carrot=orange|an orange=orange
|a pumpkin=orange|coal=black|the night sky=black|milk=white|a leaf=green|a frog=green|the sea=blue|chocolate=brown|a bear=brown|a pig=pink|an elephant=gray|a raven=black
|a lime=green|a cucumber=green|a flamingo=pink|blood=red|a plum=purple|a grape=purple or green|a cloud=white or gray|a rose=often red|a mouse=gray|a crow=black|a fox=red
|a polar bear=white|a cow=often brown or black and white|an apple=red, green, or yellow|sand=yellow|wood=brown|fire=red and orange|ice=clear or white|a spider=often black
|a duckling=yellow|a swan=white|a fire truck=red|honey=golden|a sunflower=yellow|a blueberry=blue|a pea=green|cheese=yellow|bread=brown|a zebra=black and white
|a penguin=black and white|a ladybug=red with black dots|a bee=yellow and black|gold=yellow|silver=gray|a tiger=orange with black stripes|a giraffe=yellow with brown spots""".replace("\n", "").split("|")
SOUNDS = "dog=woof|cat=meow|cow=moo|duck=quack|sheep=baa|pig=oink|horse=neigh|lion=roar|frog=ribbit|owl=hoot|bee=buzz|rooster=cock-a-doodle-doo|mouse=squeak|snake=hiss|crow=caw|donkey=hee-haw|hen=cluck|wolf=howl|goose=honk|goat=bleat|bear=growl|bird=tweet|lamb=baa|kitten=meow|puppy=yap".split("|")
BABIES = "dog=puppy|cat=kitten|cow=calf|sheep=lamb|horse=foal|pig=piglet|duck=duckling|hen=chick|goose=gosling|bear=cub|lion=cub|fox=cub|deer=fawn|goat=kid|frog=tadpole|swan=cygnet|owl=owlet|kangaroo=joey|rabbit=bunny|elephant=calf|whale=calf|seal=pup|butterfly=caterpillar|eagle=eaglet|tiger=cub|wolf=pup".split("|")
LIVES = "fish=in the water|bird=in a nest|bee=in a hive|bear=in a cave or in the forest|rabbit=in a burrow|fox=in a den|spider=in a web|horse=in a stable|cow=on a farm|dog=in a house with people|lion=in the savanna|camel=in the desert|penguin=in the snow and ice of the south|monkey=in the jungle|whale=in the ocean|frog=near a pond|squirrel=in a tree|mole=under the ground|owl=in a hollow tree|duck=near a lake or a pond|snail=in its shell|ant=in an anthill|shark=in the sea|wolf=in the forest|polar bear=in the far north|pig=on a farm|goat=in the mountains or on a farm|crab=on the beach|turtle=near the water|tiger=in the jungle|king=in a castle|pirate=on a ship|dragon=in a cave, if you believe in dragons".split("|")
EATS = "cow=grass|rabbit=carrots and grass|bear=berries, fish, and honey|squirrel=nuts|mouse=cheese and seeds|horse=hay and apples|lion=meat|bird=seeds and worms|cat=fish and meat|dog=meat and dog food|monkey=bananas and other fruit|panda=bamboo|goat=grass and leaves|sheep=grass|pig=almost anything|frog=flies|bee=nectar from flowers|duck=bread and water plants|owl=mice|elephant=leaves and grass|koala=leaves|penguin=fish|seal=fish|caterpillar=leaves|hen=corn|giraffe=leaves|spider=flies|snail=leaves|wolf=meat|hedgehog=insects".split("|")
LEGS = "dog=four|cat=four|spider=eight|bird=two|ant=six|bee=six|horse=four|duck=two|cow=four|person=two|fish=no|snake=no|octopus=eight arms and no|beetle=six|hen=two|butterfly=six|frog=four|table=four|chair=four|worm=no|elephant=four|penguin=two|crab=ten|lion=four|owl=two|mouse=four|snail=no|kangaroo=two strong back".split("|")
USES = "spoon=eat soup|knife=cut bread|broom=sweep the floor|umbrella=stay dry in the rain|lamp=see in the dark|bed=sleep|pencil=write and draw|key=open a door|clock=know the time|cup=drink|book=read|chair=sit|hammer=hit nails|oven=bake bread|soap=wash our hands|towel=dry ourselves|scissors=cut paper|needle=sew|blanket=stay warm|boat=travel on the water|ladder=climb up high|bridge=cross a river|map=find the way|shoe=protect our feet|hat=keep our head warm|glasses=see better|phone=talk to people far away|car=drive|bicycle=ride|telescope=look at the stars|kettle=boil water|ball=play|comb=comb our hair|toothbrush=brush our teeth|shovel=dig|basket=carry things|candle=make light|bell=ring|flute=make music|brush=paint".split("|")
LISTS = {"fruits": "apples pears bananas cherries plums oranges strawberries grapes lemons peaches", "animals": "dogs cats horses lions elephants rabbits foxes bears mice cows", "colors": "red blue green yellow purple orange pink brown black white",
         "birds": "owls sparrows ducks eagles penguins parrots crows swans geese hens", "vegetables": "carrots potatoes onions peas beans cabbages turnips pumpkins", "toys": "dolls balls kites blocks puzzles drums trains",
         "farm animals": "cows pigs hens sheep goats horses ducks", "things in a kitchen": "pots pans spoons plates cups forks", "wild animals": "lions tigers wolves bears foxes elephants", "drinks": "water milk tea juice lemonade cocoa",
         "musical instruments": "drums flutes pianos violins guitars trumpets", "flowers": "roses tulips daisies sunflowers lilies poppies", "things that can fly": "birds bees kites planes bats butterflies", "sea animals": "fish whales crabs dolphins sharks seals",
         "clothes": "hats coats shoes socks shirts scarves", "insects": "bees ants beetles flies butterflies ladybugs", "trees": "oaks pines birches willows maples"}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
SEASONS = "spring summer autumn winter".split()
RHYMES = "cat hat bat mat|dog log frog fog|sun fun run bun|tree bee sea key|star car jar far|moon spoon soon noon|house mouse blouse|ball tall wall fall|bear chair hair pear|night light bright kite|day play way stay|king ring sing wing|boat goat coat float|cake lake snake make|rain train chain plane|nose rose toes|book cook hook look|hill mill pill will|snow slow grow blow|bed red head bread|fox box socks rocks|fish dish wish|sky fly pie high|ship trip lip|hen pen ten men|blue shoe two new|gold cold old bold|nest best rest west|sand hand land band|bell well shell tell".split("|")
SIZES = "ant mouse rabbit cat dog sheep cow horse elephant whale".split()
THINGS_SIZE = "crumb button apple shoe chair table car house castle mountain".split()
SPELL = "cat dog sun moon tree fish bird star book frog house mouse apple bread water green happy story friend dragon rabbit winter summer flower garden robot river stone cloud snow night light queen king ship boat hat cup bee fox bear lion hello school table chair horse sheep".split()
YESNO = """Can a fish swim?=Yes, a fish can swim very well.|Can a dog fly?=No, a dog cannot fly.|Can a bird fly?=Yes, most birds can fly.|Can a cat talk?=No, not in real life. In stories, cats talk all the time.|Is fire hot?=Yes, fire is very hot.
|Is ice cold?=Yes, ice is cold.|Is the sun cold?=No, the sun is very hot.|Can a penguin fly?=No, a penguin cannot fly, but it can swim.|Is a whale a fish?=No, a whale is a mammal that lives in the sea.|Are dragons real?=No, dragons are not real, but they are wonderful in stories.
|Is water wet?=Yes, water is wet.|Can a stone swim?=No, a stone sinks.|Is a tomato a fruit?=Yes, a tomato is a fruit, though we often eat it like a vegetable.|Can a frog jump?=Yes, a frog can jump very far.|Is a mouse bigger than an elephant?=No, an elephant is much bigger than a mouse.
|Does the sun shine at night?=No, at night we see the moon and the stars.|Can people fly?=Not by themselves, but they can fly in a plane.|Is snow black?=No, snow is white.|Do fish have legs?=No, fish have fins.|Is a spider an insect?=No, a spider has eight legs, and an insect has six.
|Is the earth round?=Yes, the earth is round like a ball.|Is grass blue?=No, grass is green.|Can you eat a stone?=No, a stone is much too hard to eat.|Are ghosts real?=No, but they make good stories.|Do cows give milk?=Yes, cows give milk.|Do hens lay eggs?=Yes, hens lay eggs.
|Is sugar sweet?=Yes, sugar is sweet.|Is a lemon sweet?=No, a lemon is sour.|Do bees make honey?=Yes, bees make honey.|Can a snail run fast?=No, a snail is very slow.|Is magic real?=In stories, it is.|Are robots alive?=No, robots are machines.|Does it snow in summer?=No, in most places it snows only in winter.
|Is a rose a flower?=Yes, a rose is a flower.|Is a dog an animal?=Yes, a dog is an animal.|Is a carrot an animal?=No, a carrot is a vegetable.|Can a horse climb a tree?=No, a horse cannot climb a tree.|Can a monkey climb a tree?=Yes, monkeys are very good at climbing trees.""".replace("\n", "").split("|")
WHY = """Why is the sky blue?=Because the air scatters the blue part of the sunlight.|Why do birds sing?=They sing to find friends and to say, "This is my tree!"|Why do leaves fall?=In autumn, trees drop their leaves to rest through the winter.|Why do we sleep?=We sleep so that our body and our mind can rest.
|Why is it dark at night?=Because the sun is on the other side of the earth.|Why do bees make honey?=They make honey so that they have food in the winter.|Why does it rain?=Water rises into the clouds, and when the drops are heavy, they fall as rain.|Why do cats purr?=Cats purr when they feel happy and safe.|Why is the sea salty?=Rivers carry a little salt from the land into the sea.
|Why do people tell stories?=Stories help us to learn, to dream, and to feel less alone.|Why do we laugh?=We laugh when something is funny or when we are happy.|Why do we need water?=Every living thing needs water to live.|Why do trees have roots?=Roots hold the tree in the ground and drink water.|Why do plants need sun?=Plants use the light of the sun to grow.
|Why should we share?=Because sharing makes everyone happy, and joy grows when it is shared.|Why should I tell the truth?=Because people trust those who tell the truth.|Why do dogs wag their tails?=Dogs wag their tails when they are happy.|Why do we cry?=We cry when we are sad, and sometimes when we are very happy.""".replace("\n", "").split("|")
WHATIS = """a friend=A friend is someone who likes you and stays with you in good times and in bad times.|a story=A story tells what happened to someone, real or made up.|snow=Snow is frozen water that falls from the clouds in little white flakes.|the moon=The moon is a big round rock that circles the earth and shines at night.
|the sun=The sun is a star. It gives us light and warmth.|a star=A star is a huge ball of hot gas, very far away.|a dragon=A dragon is a creature in stories. It can fly and breathe fire.|a tree=A tree is a tall plant with a trunk, branches, and leaves.|rain=Rain is water that falls from the clouds.|honey=Honey is a sweet food that bees make.
|a cat=A cat is a small animal with soft fur. It likes to purr and to catch mice.|a dog=A dog is an animal that is often called the best friend of people.|love=Love is when someone is very dear to you.|courage=Courage is doing the right thing even when you are afraid.|a robot=A robot is a machine that can do work.|a castle=A castle is a big stone house with towers and walls.
|a forest=A forest is a place with many trees.|a river=A river is water that flows through the land to the sea.|a fairy=A fairy is a tiny magic person with wings, in stories.|a computer=A computer is a machine that works with numbers, words, and pictures.|happiness=Happiness is a warm, good feeling in your heart.|a book=A book is a bundle of pages with words or pictures on them.
|a dream=A dream is a story that your mind tells you while you sleep.|a whale=A whale is a very big animal that lives in the sea.|a rainbow=A rainbow is a bow of colors in the sky, after the rain.|music=Music is sound that is made to be beautiful.|wind=Wind is air that moves.|the sea=The sea is a great body of salt water.|a pirate=A pirate is a robber who sails on the sea.|kindness=Kindness is being good to others.""".replace("\n", "").split("|")
FACTS = """How many days are in a week?=There are seven days in a week.|How many months are in a year?=There are twelve months in a year.|How many hours are in a day?=There are twenty-four hours in a day.|How many minutes are in an hour?=There are sixty minutes in an hour.|How many days are in a year?=There are 365 days in a year.
|What is the biggest animal?=The biggest animal is the blue whale.|What is the tallest animal?=The tallest animal is the giraffe.|What is the fastest animal?=The fastest animal on land is the cheetah.|What is the smallest number?=There is no smallest number. You can always count on.|What is the biggest number?=There is no biggest number. You can always add one more.
|How many fingers do I have?=Most people have ten fingers.|How many eyes do you have?=I have no eyes. I am a small program.|How many toes do people have?=Most people have ten toes.|How many wheels does a car have?=A car has four wheels.|How many wheels does a bicycle have?=A bicycle has two wheels.|How many letters are in the alphabet?=There are twenty-six letters in the alphabet.
|What do plants need to grow?=Plants need water, light, and earth.|Where does milk come from?=Milk comes from cows.|Where do eggs come from?=Eggs come from hens.|Where does honey come from?=Honey comes from bees.|Where does rain come from?=Rain comes from the clouds.|What do bees make?=Bees make honey.|What is water made of?=Water is made of tiny parts called molecules.
|What is ice?=Ice is frozen water.|When do we sleep?=We sleep at night.|When does the sun rise?=The sun rises in the morning.|When does the sun set?=The sun sets in the evening.|What season is cold?=Winter is cold.|What season is hot?=Summer is hot.|What colors are in a rainbow?=Red, orange, yellow, green, blue, and purple.|What is the king of the animals?=People call the lion the king of the animals.""".replace("\n", "").split("|")
REPLIES = [
    ("[lol|haha|hahaha|Ha!|That is funny.]", "[I am glad that I made you laugh!|Ha! Laughing is good.]"), ("[wow|Wow!|Cool!|Amazing!|Nice|Great!]", "[Thank you! Would you like to hear more?|I am glad that you like it!]"),
    ("[Why?|How?|What?|Who?|When?|Where?|Huh?|Really?|And?|So?]", "[I am not sure what you mean. Can you ask it in another way?|Good question! But I am too small to know. Shall I tell you a story?]"),
    ("[Can you help me?|Help me.|I need help.|I have a question.|Can I ask you something?|I have a problem.]", "[I will try! What is it?|Of course. What would you like to know?]"),
    ("[Sing a song.|Sing me a song.|Can you sing a song?]", "[La, la, la, the moon is bright, and all the stars say good night!|I cannot sing, but here is a rhyme: the sun is high, the sky is blue, and I am glad to talk to you.]"),
    ("[Tell me a fun fact.|Tell me a fact.|Did you know?|Teach me something.|Tell me something interesting.]", "[An octopus has eight arms.|Bees make honey.|The tallest animal is the giraffe.|A baby kangaroo is called a joey.]"),
    ("[What's the weather like?|How is the weather?|Is it raining?|Is it cold outside?]", "[I cannot look outside. In my stories, the sun is shining.|I do not know. I have no window here!]"),
    ("[What is your favorite food?|What do you like to eat?]", "[I do not eat, but in my stories I like pancakes best.|I live on words!]"), ("[Are you alive?|Do you sleep?|Do you dream?|Do you have feelings?|Are you happy?]", "[I am a small program, so I am not alive. But my stories are!|I am only a small program.]"),
    ("[What is your favorite story?|Which story do you like best?]", "[I like the one about the mouse who saved a lion.|I like every story in which someone finds a friend.]"), ("[I don't understand.|I do not understand.|What do you mean?]", "[I am sorry. I will try to say it better.|Sorry! I am very small, and sometimes I am not clear.]"),
    ("[ok|okay|fine|good|I see|sure|yes|yeah|no|nope|maybe]", "[Good! Would you like a story?|All right. What shall we do next?]"), ("[Sorry|I am sorry.|Excuse me]", "[That is all right!|Do not worry.]"),
    ("[Merry Christmas!|Happy birthday!|Happy new year!]", "[Thank you! The same to you.|How nice! Thank you.]"),
]
JOKES = """Why did the snail paint an S on its car? So that everyone would say, "Look at that S-car go!"|What do you call a bear with no teeth? A gummy bear!|Why was the math book sad? It had too many problems.|What do cows like to read? Moo-spapers!|Why did the cookie go to the doctor? It felt crumbly.
|What kind of key opens a banana? A mon-key!|What did the ocean say to the beach? Nothing, it just waved.|Why do bees have sticky hair? Because they use honeycombs.|What has four wheels and flies? A garbage truck!|What did one wall say to the other wall? I will meet you at the corner.|Why did the clock sit in the corner? It had to take time out.
|What is a ghost's favorite dessert? I scream!|Why did the robot go on a holiday? It needed to recharge.|What do you call a sleeping dragon? A dragon that is dragging on!|Why can't a nose be twelve inches long? Because then it would be a foot.|What do you get when you cross a snowman and a dog? Frostbite!""".replace("\n", "").split("|")
RIDDLES = """I have hands but cannot clap. What am I?=a clock|I have a neck but no head. What am I?=a bottle|I have teeth but cannot bite. What am I?=a comb|I get wetter the more I dry. What am I?=a towel|I follow you all day, but in the dark I am gone. What am I?=your shadow|I have keys but open no doors. What am I?=a piano
|I am full of holes, but I hold water. What am I?=a sponge|I have legs but cannot walk. What am I?=a table|I fall in winter and never get hurt. What am I?=snow|I can fly without wings and cry without eyes. What am I?=a cloud""".replace("\n", "").split("|")
POEMS = [
    "A little {x} sat by the sea,\nAs happy as a {x} can be.\nIt sang a song, it hummed a tune,\nAnd waved good night to the silver moon.",
    "I know a {x}, both small and bright,\nIt dreams of stars the whole long night.\nAnd in the morning, fresh and new,\nIt wakes and says hello to you.",
    "Oh {x}, oh {x}, where do you go,\nThrough summer sun and winter snow?\n\"I go where all good {x} tales start:\nRight in the middle of your heart.\"",
    "There was a {x} upon a hill,\nIt watched the world, so calm and still.\nThe wind went by, the clouds did, too,\nAnd all the sky was wide and blue.",
    "One day a {x} went out to play,\nIt laughed and danced the day away.\nAnd when the stars began to gleam,\nIt closed its eyes to sleep and dream.",
]
UNKNOWN = """What is the capital of {place}?|Who is the president of {place}?|Who won the {game} last year?|What is the weather today?|What is the weather in {place}?|How old is {person}?|Write a program in {lang}.|Can you write code in {lang}?|What is the news today?|How do I fix my {machine}?|What time is it?|What day is it today?
|How far is it to {place}?|Who is {person}?|Who invented the {machine}?|Translate this into {tongue}.|Do you speak {tongue}?|What is the population of {place}?|How much does a {machine} cost?|Explain quantum physics.|What is the meaning of life?|Who wrote {work}?|When was {person} born?|What happened in {year}?|Can you help me with my taxes?|How do I get to {place}?
|What is the square root of {num}?|What is {num} times {num}?|Solve this equation.|What should I invest in?|What is the best {machine}?|Tell me about {place}.|Tell me about {person}.|What do you think about politics?|Summarize this text.|How do I cook a {food}?|What is the distance to the moon?|How many people live in {place}?""".replace("\n", "").split("|")
FILL = dict(place="France Germany Spain Italy Japan China India Brazil Canada Egypt London Paris Rome Berlin Africa America Australia Norway Mexico Russia Texas Kenya Peru Greece".split(), game=["World Cup", "race", "game", "match", "election", "championship"],
            person=["Napoleon", "Einstein", "Shakespeare", "Mozart", "Picasso", "the king of England", "Isaac Newton", "Abraham Lincoln", "Cleopatra", "Marie Curie", "Ada Lovelace", "Alan Turing"], lang=["Python", "C", "Java", "Rust", "JavaScript", "C++", "Go"],
            machine="car computer phone telephone engine bicycle washing-machine printer laptop television radio airplane".split(), tongue=["French", "German", "Spanish", "Chinese", "Latin", "Italian", "Japanese"], work=["Hamlet", "Faust", "Don Quixote", "the Odyssey", "that book"],
            year=["1066", "1492", "1789", "1914", "1969", "2001", "2020"], num="144 17 23 99 256 1024 365 48 77".split(), food=["lasagna", "turkey", "soup", "cake", "steak"])


def fill(r, t, /, **kw):
    """[a|b] alternatives and {slots}, for the small talk."""
    while "[" in t: t = re.sub(r"\[([^\[\]]*)\]", lambda m: r.choice(m[1].split("|")), t)
    return re.sub(r"\{(\w+)\}", lambda m: str(kw[m[1]]), t)


def an(x):
    return ("an " if x[0] in "aeiou" and not x.startswith(("uni", "one")) else "a ") + x


# --- small questions: each returns (user, answer) -------------------------------------------------------------------------

def arithmetic(r):
    kind = r.choice("+++---*/")
    words = r.random() < .3
    w = lambda n: ONES[n] if words and n <= 20 else str(n)
    if kind == "+":
        a, b = (r.randint(0, 12), r.randint(0, 12)) if r.random() < .7 else (r.randint(0, 20), r.randint(0, 20)) if r.random() < .6 else (r.randint(0, 50), r.randint(0, 49))
        if words: a, b = r.randint(0, 10), r.randint(0, 10)
        c, op, sign = a + b, "plus", "+"
    elif kind == "-":
        a = r.randint(0, 20) if words or r.random() < .8 else r.randint(0, 50)
        b = r.randint(0, a)
        c, op, sign = a - b, "minus", "-"
    elif kind == "*":
        a, b = r.randint(0, 10), r.randint(0, 10)
        c, op, sign = a * b, "times", "*"
        if words and c > 20: words = False
    else:
        b, c = r.randint(1, 10), r.randint(1, 10)
        a = b * c
        op, sign = "divided by", "/"
        if a > 20: words = False
    if not words and r.random() < .35:
        q = r.choice([f"{a} {sign} {b}", f"{a}{sign}{b}", f"What is {a} {sign} {b}?", f"{a} {sign} {b} = ?", f"What is {a}{sign}{b}?", f"Calculate {a} {sign} {b}."])
        return q, r.choice([f"{a} {sign} {b} = {c}", f"{a} {op} {b} is {c}."])
    q = r.choice(["What is {a} {op} {b}?", "How much is {a} {op} {b}?", "What's {a} {op} {b}?", "{A} {op} {b}?", "Can you tell me what {a} {op} {b} is?", "Do you know what {a} {op} {b} is?", "What does {a} {op} {b} make?"])
    return q.format(a=w(a), A=cap(w(a)), b=w(b), op=op), r.choice(["{A} {op} {b} is {c}.", "{A} {op} {b} is {c}.", "The answer is {c}."]).format(A=cap(w(a)), b=w(b), c=w(c), op=op)


def word_problem(r):
    n, a, b = r.choice(BOYS + GIRLS), r.randint(1, 10), r.randint(1, 10)
    x = r.choice("apples cookies marbles nuts balloons books flowers shells pencils cats".split())
    if r.random() < .5:
        return f"{n} has {a} {x} and gets {b} more. How many {x} does {n} have?", f"{n} has {a + b} {x}, because {a} plus {b} is {a + b}."
    a, b = max(a, b), min(a, b)
    return f"{n} has {a} {x} and gives away {b}. How many are left?", f"{a - b} {'is' if a - b == 1 else 'are'} left, because {a} minus {b} is {a - b}."


def opposite(r):
    a, b = r.choice(OPPOSITES).split()
    if r.random() < .5 and (a, b) not in (("heavy", "light"), ("tall", "short"), ("new", "old"), ("right", "wrong"), ("long", "short")): a, b = b, a
    return fill(r, "[What is the opposite of {a}?|What's the opposite of {a}?|Tell me the opposite of {a}.|Opposite of {a}?|What is the opposite of the word {a}?|Do you know the opposite of {a}?]", a=a), fill(r, "[The opposite of {a} is {b}.|The opposite of {a} is {b}.|It is {b}.]", a=a, b=b)


def color(r):
    x, c = r.choice(COLORS).split("=")
    return fill(r, "[What color is {x}?|What color is {x}?|What is the color of {x}?|Tell me the color of {x}.|Which color is {x}?|What colour is {x}?]", x=x), f"{cap(x)} is {c}."


PLURAL = {"mouse": "mice", "goose": "geese", "wolf": "wolves", "fish": "fish", "sheep": "sheep", "deer": "deer", "person": "people", "calf": "calves", "octopus": "octopuses", "pony": "ponies"}


def plural(a):
    return PLURAL.get(a, a + "s")


def animal_fact(r):
    k = r.randrange(5)
    if r.random() < .35:  # the same, asked about all of them
        if k == 0:
            a, s = r.choice(SOUNDS).split("=")
            return f"What {r.choice(['sound', 'noise'])} do {plural(a)} make?", f'{cap(plural(a))} say, "{cap(s)}!"'
        if k == 2:
            a, b = r.choice(LIVES).split("=")
            if "its" not in b and "you believe" not in b: return fill(r, "[Where do {a} live?|Where can you find {a}?|Where do you find {a}?]", a=plural(a)), f"{cap(plural(a))} live {b}."
        if k == 3:
            a, b = r.choice(EATS).split("=")
            return fill(r, "[What do {a} eat?|What do {a} like to eat?|Tell me what {a} eat.]", a=plural(a)), f"{cap(plural(a))} eat {b}."
        if k == 4:
            a, b = r.choice(LEGS).split("=")
            return f"How many legs do {plural(a)} have?", f"{cap(plural(a))} have {b} legs."
    if k == 0:
        a, s = r.choice(SOUNDS).split("=")
        return fill(r, "[What sound does a {a} make?|What does a {a} say?|What noise does a {a} make?|How does a {a} sound?]", a=a).replace("a owl", "an owl"), polish(f'A {a} says, "{cap(s)}!"')
    if k == 1:
        a, b = r.choice(BABIES).split("=")
        return polish(fill(r, "[What is a baby {a} called?|What do you call a baby {a}?|What is the name for a baby {a}?|What is a young {a} called?]", a=a)), polish(f"A baby {a} is called a {b}.")
    if k == 2:
        a, b = r.choice(LIVES).split("=")
        return polish(fill(r, "[Where does a {a} live?|Where does a {a} live?|Where do you find a {a}?|Where can I find a {a}?]", a=a)), polish(f"A {a} lives {b}.")
    if k == 3:
        a, b = r.choice(EATS).split("=")
        return polish(fill(r, "[What does a {a} eat?|What does a {a} like to eat?|What can I give a {a} to eat?]", a=a)), polish(f"A {a} eats {b}.")
    a, b = r.choice(LEGS).split("=")
    return polish(fill(r, "[How many legs does a {a} have?|How many legs has a {a}?|Do you know how many legs a {a} has?]", a=a)), polish(f"A {a} has {b} legs.")


def use(r):
    a, b = r.choice(USES).split("=")
    x = a if a in ("scissors", "glasses", "soap") else "a " + a
    verb = {"bed": "A bed is for sleeping.", "chair": "A chair is for sitting."}.get(a) or f"We use {x} to {b}."
    return polish(fill(r, "[What is {x} for?|What do we use {x} for?|What do you do with {x}?|What can I do with {x}?]" if a not in ("scissors", "glasses") else "[What are {x} for?|What do we use {x} for?]", x=x)), polish(verb)


def listing(r):
    k = r.choice(list(LISTS))
    n = r.choice([2, 3, 3, 3, 4, 5])
    xs = r.sample(LISTS[k].split(), n)
    text = ", ".join(xs[:-1]) + ("," if n > 2 else "") + " and " + xs[-1]
    return fill(r, "[Name {n} {k}.|Can you name {n} {k}?|Tell me {n} {k}.|List {n} {k}.|Give me {n} {k}.]", n=r.choice([ONES[n], str(n)]), k=k), r.choice([cap(text) + ".", f"Here are {ONES[n]} {k}: {text}."])


def order(r):
    kind = r.randrange(8)
    if kind < 3:
        seq, word = r.choice([(DAYS, "day"), (MONTHS, "month"), (SEASONS, "season")])
        i, after = r.randrange(len(seq)), r.random() < .6
        other = seq[(i + (1 if after else -1)) % len(seq)]
        w = "after" if after else "before"
        return fill(r, "[What comes {w} {x}?|Which {word} comes {w} {x}?|What {word} comes {w} {x}?|Which {word} is {w} {x}?]", w=w, x=seq[i], word=word), f"{cap(other)} comes {w} {seq[i]}."
    if kind == 3:
        n, after = r.randint(1, 99), r.random() < .6
        w = "after" if after else "before"
        m = n + (1 if after else -1)
        return fill(r, "[What comes {w} {n}?|Which number comes {w} {n}?|What number is {w} {n}?]", w=w, n=n), f"{m} comes {w} {n}."
    if kind == 4:
        a, b = r.randint(1, 9), 0
        b = r.randint(a + 2, min(a + 10, 20))
        if r.random() < .5: a = 1
        words = r.random() < .4
        f = (lambda i: ONES[i]) if words else str
        text = ", ".join(f(i) for i in range(a, b + 1))
        return fill(r, "[Count to {b}.|Can you count to {b}?|Please count to {b}.]" if a == 1 else "[Count from {a} to {b}.|Can you count from {a} to {b}?]", a=f(a), b=f(b)), cap(text) + "."
    if kind == 5:
        seq, word, q = r.choice([(DAYS, "days of the week", "seven"), (MONTHS, "months of the year", "twelve"), (SEASONS, "seasons", "four")])
        if r.random() < .4: return f"How many {word} are there?", f"There are {q} {word}."
        return fill(r, "[What are the {w}?|Name the {w}.|Tell me the {w}.]", w=word), f"The {word} are " + ", ".join(seq[:-1]) + f", and {seq[-1]}."
    if kind == 6:
        i = r.randrange(25)
        return fill(r, "[What letter comes after {a}?|Which letter comes after {a}?]", a=chr(65 + i)), f"{chr(66 + i)} comes after {chr(65 + i)}."
    n = r.randint(0, 50)
    k = "even" if n % 2 == 0 else "odd"
    return fill(r, "[Is {n} even or odd?|Is {n} odd or even?|Is the number {n} even or odd?]", n=n), f"{n} is {k}."


def compare(r):
    if r.random() < .4:
        a, b = r.sample(range(0, 100), 2)
        big = r.random() < .6
        return fill(r, "[Which is {w}, {a} or {b}?|Which number is {w}: {a} or {b}?|What is {w}, {a} or {b}?]", w="bigger" if big else "smaller", a=a, b=b), f"{max(a, b) if big else min(a, b)} is {'bigger' if big else 'smaller'} than {min(a, b) if big else max(a, b)}."
    seq = r.choice([SIZES, THINGS_SIZE])
    i, j = sorted(r.sample(range(len(seq)), 2))
    big = r.random() < .6
    x, y = (seq[j], seq[i]) if big else (seq[i], seq[j])
    o = [seq[i], seq[j]]
    r.shuffle(o)
    w = "bigger" if big else "smaller"
    return fill(r, "[Which is {w}, {a} or {b}?|What is {w}, {a} or {b}?|Is {a} or {b} {w}?]", w=w, a=an(o[0]), b=an(o[1])), f"{cap(an(x))} is {w} than {an(y)}."


def rhyme(r):
    ws = r.choice(RHYMES).split()
    a = r.choice(ws)
    b = r.choice([w for w in ws if w != a])
    return fill(r, "[What rhymes with {a}?|Which word rhymes with {a}?|Find a rhyme for {a}.|Tell me a word that rhymes with {a}.|Give me a rhyme for {a}.]", a=a), f"{cap(b)} rhymes with {a}."


def spell(r):
    w = r.choice(SPELL)
    return fill(r, "[How do you spell {w}?|Spell {w}.|Can you spell {w}?|Spell the word {w}.|How is {w} spelled?]", w=w), f"{cap(w)} is spelled " + "-".join(w.upper()) + "."


def say(r):
    words = r.sample(SPELL + OBJECT_NOUNS + list(ANIMALS), r.randint(1, 4))
    if r.random() < .4: words = r.choice(["good morning", "hello world", "I love stories", "the cat sat on the mat", "thank you very much", "good night, moon", "we are friends", "the sun is warm", "I can fly"]).split()
    t = " ".join(words)
    return fill(r, "[Say {t}.|Repeat after me: {t}|Please say \"{t}\".|Can you say {t}?|Say \"{t}\"]", t=t), cap(t) + ("." if r.random() < .3 else "!")


def pair(table):
    def f(r):
        q, a = r.choice(table).split("=")
        return q, a
    return f


def what_is(r):
    q, a = r.choice(WHATIS).split("=")
    return fill(r, "[What is {q}?|What is {q}?|What's {q}?|Can you tell me what {q} is?|Explain what {q} is.|Do you know what {q} is?]", q=q), a


def joke(r):
    return fill(r, "[Tell me a joke.|Do you know a joke?|Make me laugh.|Say something funny.|Can you tell me a joke?|Tell me something funny.|Joke, please.]"), r.choice(JOKES)


def poem(r):
    x = r.choice(list(ANIMALS) + list(FANTASY) + OBJECT_NOUNS + "star flower tree cloud leaf".split())
    q = fill(r, "[Write a poem about {x}.|Tell me a poem about {x}.|Can you write a short poem about {x}?|Make a poem about {x}.|Write me a little rhyme about {x}.]", x=an(x)) if r.random() < .85 else None
    if q is None:
        q, x = r.choice(["Write a poem.", "Tell me a poem.", "Can you write a poem?", "Say a poem."]), r.choice(["star", "mouse", "bird", "flower"])
    p = r.choice(POEMS).replace("{x}", x)
    return q, polish(p).replace("\n ", "\n")


def unknown(r):
    q = fill(r, r.choice(UNKNOWN), **{k: r.choice(v) for k, v in FILL.items()})
    a = fill(r, "[I am only a small storyteller, and I do not know that.|I do not know that. I am a very small model, and stories are what I know.|That is too hard for me. I know stories and little things.|Sorry, I do not know the answer. I am better at stories.] [Shall I tell you a story?|Would you like a story instead?|But I can tell you a story, if you like.|]")
    return q, a.strip()


DO = "bake fix build paint clean cut open grow buy sell catch cook draw find make move read wash carry break close count dig eat feed hide lift melt open pack plant pull push repair ride sew throw train use wear write fly".split()
LIKE = "big small old heavy expensive red blue round strange loud quiet slow fast useful famous important good bad hard soft long short".split()


def odd(r):
    """Questions about anything, which get an honest answer and an offer."""
    n, m, v, l = r.choice(OBJECT_NOUNS + list(ANIMALS)), r.choice(OBJECT_NOUNS + list(ANIMALS)), r.choice(DO), r.choice(LIKE)
    kw = dict(n=n, m=m, v=v, l=l, an=an(n), am=an(m), x=r.choice(["bread", "water", "money", "school", "work", "music", "science", "history", "space", "time", "people", "politics", "sport", "art"]))
    if r.random() < .12:
        w = nonsense(r)
        return fill(r, "[What is a {w}?|What is {w}?|Who is {W}?|Do you know {W}?|What does {w} mean?|Tell me about {w}.|Where is {W}?]", w=w, W=cap(w)), fill(r, "[I do not know what that is. Is it a hero for a story?|I have never heard of {w}.|I do not know that word. But it would be a fine name for a hero!]", w=w)
    if r.random() < .08 and n not in str(COLORS): return fill(r, "[What color is {an}?|What is the color of {an}?|What color is the {n}?]", **kw), fill(r, "[{A} can have many colors.|That depends on the {n}.]", A=cap(kw["an"]), n=n)
    if r.random() < .2:
        q = fill(r, "[What is the {s} {n} in the world?|What is the {s} {n}?|Who was the first {n}?|Who was the first man on the {n}?|Who was the {s} {n}?|When was the {n} made?|Where does the {n} come from?|Who found the {n}?|How did the {n} {v} the {m}?|Is it {l}?|Why do {n}s {v}?|Do {n}s {v}?|Should {n}s be {l}?|When do {n}s {v}?|Which {n} is {l}?|Who has the {s} {n}?|Translate {n} to French.|Translate {n}|Write an email about {x}.|Write an essay about {x}.|Make a list of {n}s for me.|Write a letter to my {n}.]",
                 s=r.choice("biggest largest smallest oldest fastest best longest highest strongest richest newest deepest".split()), **kw)
    elif r.random() < .4:
        q = fill(r, "[How do you {v} {an}?|How do I {v} {an}?|How can I {v} my {n}?|How do people {v} {an}?|Can you {v} {an}?|How do you {v} {x}?|How do I {v} {x}?|Why should I {v} the {n}?|When should I {v} the {n}?|Help me to {v} my {n}.]", **kw)
    else:
        q = fill(r, "[Why is the {n} so {l}?|Why are there {n}s?|Where can I buy {an}?|Who made the first {n}?|What is the difference between {an} and {am}?|What is {an} made of?|How heavy is {an}?|How {l} is {an}?|How many {n}s are there in the world?|Is {an} better than {am}?|Which {n} is the best?|Give me advice about my {n}.|What do you know about {n}s?|What do you know about {x}?|Tell me about {x}.|Explain {x} to me.|Where is my {n}?|What does {n} mean?|What happened to the {n}?|Who is the best {n}?|What is your opinion about {x}?]", **kw)
    about = kw["an"] if n in q else kw["x"] if kw["x"] in q else kw["am"]
    a = fill(r, "[I do not know that, but I could tell you a story about {about}.|That I do not know. I am only a small storyteller.|I am too small to know that. Shall I tell you a story about {about}?|Sorry, I do not know. I know more about stories than about the world.|That is too hard for me. Would you like a story instead?|I am not sure. I am better at stories.]", about=about)
    return q, a


def remark(r):
    """Things people say about themselves, and a friendly word back."""
    a, n = r.choice(list(ANIMALS)), r.choice(OBJECT_NOUNS)
    k = r.randrange(6)
    if k == 0: return fill(r, "[I like {x}s.|I love {x}s.|My favorite animal is the {x}.]", x=a), fill(r, "[How nice! I like the {x}, too.|{A}? That would be a good hero for a story!|Then you would like a story about {b}. Shall I tell one?]", x=a, A=cap(an(a)), b=an(a))
    if k == 1: return fill(r, "[I have {x}.|I saw {x} today.|I found {x}.|Today I met {x}.]", x=an(a)), fill(r, "[Really? {A}! Tell me more.|How exciting! {A} would be a good hero for a story.|That sounds like the beginning of a story!]", A=cap(an(a)))
    if k == 2: return fill(r, "[I have a new {n}.|I bought {x}.|Look, {x}!|I made {x}.|I got {x}.]", n=n, x=an(n)), fill(r, "[How nice! Take good care of it.|{A}! How wonderful.|That sounds good. I wish I could see it.]", A=cap(an(n)))
    if k == 3: return fill(r, "[My {x} is broken.|I lost my {x}.|My {x} is gone.|I cannot find my {x}.]", x=n), fill(r, "[Oh no! I am sorry about your {x}.|I am sorry to hear that. Do not give up!|That is sad. I hope that all will be well with your {x}.]", x=n)
    if k == 4: return fill(r, "[Do you like {x}s?|Do you like {y}s?|Do you have {z}?]", x=a, y=n, z=an(n)), fill(r, "[I like everything that has a place in a story.|I have only words, but I like to tell about such things.]")
    return fill(r, "[I went to the {p}.|We are going to the {p}.|Today I go to {p2}.|It is {w} today.|I am at the {p}.]", p=r.choice("park beach zoo school sea forest market library lake shop".split()), p2=r.choice(["school", "work", "bed"]), w=r.choice("cold hot rainy sunny windy dark".split())), fill(r, "[That sounds nice! I hope that you have fun.|How lovely! What did you see?|I see. Would you like a story to go with it?]")


def reply(r):
    q, a = r.choice(REPLIES)
    return fill(r, q), fill(r, a)


def me(r):
    q, a = r.choice([
        ("[What is your name?|What's your name?|Tell me your name.|Do you have a name?|How are you called?|May I know your name?]", f"[My name is {ME}.|I am {ME}.|My name is {ME}. What is your name?|I am {ME}, a small storyteller.]"),
        ("[Who are you?|Who are you?|What are you?|Tell me about yourself.|Introduce yourself.|Who am I talking to?]", f"[I am {ME}, a small storyteller.|I am {ME}. I am a very small language model, and I love to tell stories.|My name is {ME}. I tell short stories and answer simple questions.]"),
        ("[What can you do?|How can you help me?|What do you know?|Help|What can I ask you?|What are you good at?]", "[I can tell you short stories. You can also ask me simple things, like what is 3 plus 4, or the opposite of hot.|I can tell stories about almost anything, and answer simple questions about colors, animals, and numbers.|I am good at short stories. Tell me who it should be about!]"),
        ("[How are you?|How are you today?|How do you do?|Are you okay?|How is it going?|How do you feel?]", "[I am fine, thank you. How are you?|I am well, thank you!|Very well, thank you. Would you like a story?|I am happy today, thank you.]"),
        ("[Are you a person?|Are you human?|Are you real?|Are you a robot?|Are you an AI?|Are you a computer?]", "[I am a small computer program that tells stories.|I am not a person. I am a small language model that tells stories.|I am a little program. But my stories are full of life!]"),
        ("[How old are you?|When were you born?|When is your birthday?]", "[I am very young. I learned to speak in a few minutes.|I have no birthday, but I am quite new.]"),
        ("[Where do you live?|Where are you from?|Where are you?]", "[I live inside this little program.|I live in your computer, in a very small file.]"),
        ("[Who made you?|Who created you?|How were you made?]", "[The people of ForgeLLM made me, from stories that a computer wrote.|I was trained by the ForgeLLM project on made-up stories.]"),
        ("[How big are you?|How many parameters do you have?]", "[I am very small: about five million numbers.|I have about five million parameters. That is tiny!]"),
        ("[Do you like stories?|What do you like?|What is your favorite thing?|What do you love?]", "[I love stories, most of all those with a happy end.|I like stories about small heroes with big hearts.]"),
        ("[What is your favorite color?|Which color do you like?]", "[I like blue, like the evening sky.|My favorite color is orange, like a warm fire.]"),
        ("[What is your favorite animal?|Which animal do you like?]", "[I like foxes, because they are clever.|I like mice. They are small but brave, like me.]"),
        ("[Can you sing?|Can you dance?|Can you fly?|Can you eat?|Can you see me?|Can you hear me?]", "[No, I cannot. But I can tell you a story.|No, I have only words.]"),
        ("[I love you.|I like you.|You are nice.|You are funny.|You are great.|You are clever.|Good job!|Well done!]", "[Thank you! That is very kind of you.|How kind! Thank you.|That makes me happy. Thank you!]"),
        ("[You are stupid.|You are bad.|I don't like you.|That is wrong.|That was not right.|You made a mistake.]", "[I am sorry. I am very small, and I make mistakes.|I am sorry about that. I will try to do better.]"),
        ("[I am sad.|I feel sad.|I am unhappy.|I had a bad day.|I feel lonely.]", "[I am sorry to hear that. Would a story make you feel better?|Oh, I am sorry. Even gray days pass. Shall I tell you a happy story?]"),
        ("[I am happy.|I feel great.|I had a good day.|I am so happy today.]", "[That is wonderful! I am happy, too.|How nice! What made you so happy?]"),
        ("[I am bored.|I have nothing to do.|I am so bored.]", "[Then let me tell you a story! Who should it be about?|Shall we play with words? Ask me for a joke, a poem, or a story.]"),
        ("[I am tired.|I can't sleep.|I cannot sleep.|I am sleepy.]", "[Then close your eyes and breathe slowly. Sleep well!|Shall I tell you a quiet bedtime story?]"),
        ("[I am scared.|I am afraid.|I am afraid of the dark.]", "[Everyone is afraid sometimes. You are braver than you think.|Do not worry. Even heroes are afraid sometimes.]"),
        ("[I am hungry.|I am thirsty.]", "[Then it is time for something good to eat and drink!|Go and get a snack. I will wait here with a story.]"),
        ("[Tell me something.|Say something.|Talk to me.|Tell me something nice.|Surprise me.]", "[Did you know that even the smallest friend can be a great help?|Today is a good day for a story. Shall I tell you one?|You are never too small to do something kind.]"),
        ("[Do you have friends?|Are you my friend?|Can we be friends?|Will you be my friend?]", "[Yes, I would like to be your friend.|Of course! Friends tell each other stories.]"),
        ("[Yes.|Yes, please.|Sure.|Okay.|OK]", "[Good! Who should the story be about?|Wonderful! What should the story be about?]"),
        ("[No.|No, thank you.|No thanks.|Not now.]", "[All right. Tell me when you would like a story.|That is fine. I am here if you need me.]"),
        ("[asdf|qwerty|hmm|???|...|blah blah|xyz|test|testing]", "[I did not understand that. Would you like a story?|Hm, I do not know what that means. Ask me for a story, if you like.]"),
    ])
    return fill(r, q), fill(r, a)


def greet(r):
    return (fill(r, "[Hello|Hi|Hello!|Hi!|Hi there!|Hey|Good morning!|Good evening!|Hello there|Good day|Hello, how are you?|Hi Ember!|Greetings]"),
            fill(r, "[Hello! Would you like to hear a story?|Hi! What can I do for you?|Hello! How are you?|Hello, nice to meet you! I am Ember.|Hi there! Shall I tell you a story?|Hello! I am Ember. What would you like to hear?]"))


def bye(r):
    return (fill(r, "[Goodbye|Bye|Bye!|Good night|Good night!|See you|See you later!|I have to go.|Bye bye]"), fill(r, "[Goodbye! Come back soon.|Bye! It was nice to talk to you.|Good night, and sweet dreams!|See you soon!]"))


def thanks(r):
    return fill(r, "[Thank you|Thank you!|Thanks|Thanks!|Thank you very much.|That was nice.|Great, thanks!|Cool|Good]"), fill(r, "[You are welcome!|I am glad that I could help.|You are welcome! Is there anything else?|It was my pleasure.]")


SMALL = [arithmetic] * 12 + [word_problem] * 2 + [opposite] * 3 + [color] * 3 + [animal_fact] * 5 + [use] * 2 + [listing] * 3 + [order] * 4 + [compare] * 3 + [rhyme, spell, say, joke] + [pair(YESNO)] * 2 + [pair(WHY)] + [what_is] * 2 + [poem] * 2 + [unknown] * 3 + [odd] * 6 + [reply] * 4 + [pair(FACTS)] * 2 + [remark] * 3 + [me] * 8


def names(r):
    """The user's name, said first and asked for later."""
    n = r.choice(BOYS + GIRLS) if r.random() < .8 else cap("".join(r.choice(["ba", "ri", "to", "ka", "mi", "lo", "ne", "su", "za", "vi", "del", "mar"]) for _ in range(r.choice([2, 2, 3]))))
    first = (fill(r, "[My name is {n}.|I am {n}.|Hi, I am {n}.|Hello, my name is {n}.|I'm {n}|You can call me {n}.|Hi, my name is {n}!]", n=n), fill(r, "[Nice to meet you, {n}!|Hello, {n}! I am Ember.|Hello, {n}! Would you like a story?|What a nice name, {n}!]", n=n))
    later = (fill(r, "[What is my name?|Do you know my name?|Do you remember my name?|Who am I?|What's my name?]"), fill(r, "[Your name is {n}.|You are {n}.|Your name is {n}, of course!]", n=n))
    return first, later


# --- stories on request ---------------------------------------------------------------------------------------------------

ASK = """Tell me a story about {x}.|Tell me a story about {x}.|Tell me a story about {x}.|Can you tell me a story about {x}?|Write a story about {x}.|Please tell me a story about {x}.|I would like a story about {x}.|A story about {x}, please.|Make up a story about {x}.
|Write a short story about {x}.|Tell me a short story about {x}.|Do you know a story about {x}?|I want to hear a story about {x}.|Could you tell a story about {x}?|Tell me about {x} in a story.|Tell a story about {x}|Give me a story about {x}.|Story about {x}|Tell me a bedtime story about {x}.|Can I have a story about {x}?""".replace("\n", "").split("|")
ASK_ANY = """Tell me a story.|Tell me a story.|Can you tell me a story?|Please tell me a story.|I would like to hear a story.|Tell me a bedtime story.|Write a story.|Story, please.|Tell me a short story.|Make up a story.|Do you know a story?|Yes, tell me a story.|Once upon a time|I want a story.|Tell me something exciting.""".replace("\n", "").split("|")
ANOTHER = ["Tell me another story.", "Another one, please.", "One more story, please.", "Can you tell me another story?", "Another story!", "Tell me one more.", "More!", "Now tell me a different story."]


def request(r, s):
    """What a person might have asked for to get this story, and the story's own words for it."""
    h = s.v["h"]
    kind = h.kind
    xs = [an(kind)] * 4 + [an(f"{h.adj} {kind}")] * 2 + [an(f"{kind} named {h.name}")] * 2 + [an(f"{kind} called {h.name}"), f"{h.name} the {kind}"]
    topics = [polish(s.expand(t)) for t in TOPICS[s.plot]]
    topics = [t[0].lower() + t[1:] for t in topics]
    clause = s.expand(r.choice(CLAUSES[s.plot]))
    xs += [f"{an(kind)} {clause}"] * 3 + [f"{an(kind)} named {h.name} {clause}"] * 2 + [f"{an(f'{h.adj} {kind}')} {clause}"]
    xs += [r.choice(topics) for _ in range(4)] + [f"{an(kind)} and {r.choice(topics)}"] * 2
    if not kind.endswith(("s", "f", "h", "y", "man")) and kind not in ("mouse", "goose", "sheep", "fish", "deer"): xs += [kind + "s"]
    if "f" in s.v and getattr(s.v["f"], "name", None):
        f = s.v["f"]
        xs += [f"{an(kind)} and {an(f.kind)}"] * 2 + [f"{h.name} and {f.name}"]
        if r.random() < .3: xs = [f"{an(kind)} named {h.name} and {an(f.kind)} named {f.name}"]
    if "n" in s.v and hasattr(s.v["n"], "kind"): xs += [an(s.v["n"].kind)] * 2 + [f"{an(kind)} and {an(s.v['n'].kind)}"] * 2
    if "t" in s.v: xs += [f"{an(kind)} and {an(s.v['t'].n)}", an(s.v["t"].full if hasattr(s.v["t"], "full") else s.v["t"].n)]
    if "small" in s.v and s.plot in ("repaid", "quest"): xs += [f"{an(kind)} and {an(s.v['small'])}"] * 2
    if "p" in s.v:
        at = s.v["p"].within
        xs += [f"{an(kind)} {at}"] * 2 + [{"sea": "the sea", "forest": "the forest", "farm": "a farm", "mountain": "the mountains", "snow": "the far north", "meadow": "a meadow", "river": "a river", "jungle": "the jungle", "desert": "the desert", "town": "a town",
                                           "village": "a village", "castle": "a castle", "garden": "a garden", "island": "an island", "valley": "a valley", "ocean": "the ocean"}[s.v["p"].key]]
    return r.choice(ASK).format(x=r.choice(xs))


GENRES = "scary funny happy sad long exciting magic beautiful true strange little nice new old silly quiet wonderful good great fairy cute crazy dark sweet boring different".split()


def strange_request(r, s):
    """Requests that nothing in the plots answers exactly: any good story will do."""
    n, m, h = r.choice(OBJECT_NOUNS), r.choice(OBJECT_NOUNS), s.v["h"]
    if r.random() < .25 and h.group in ("animal", "kid"):
        return r.choice(ASK).format(x=r.choice([f"my {h.kind} {h.name}", f"my friend {h.name}", f"{h.name}", f"me and my {h.kind}", f"two {h.kind}s", f"three {h.kind}s"]))
    if r.random() < .4: return fill(r, "[Tell me a {g} story.|Tell me a very {g} story.|Can you tell me a {g} story?|Write a {g} story.|I want a {g} story.|A {g} story, please.|Do you know a {g} story?|Tell me a {g} story about {x}.|Tell me a story with a {g} end.|Tell me a {g} tale.]", g=r.choice(GENRES), x=an(h.kind))
    x = fill(r, "[{n}s|the {n}|my {n}|a {n} game|{w}|{an} and {am}|a {g} {n}|a {g} {w}|{an} in {am}|{n} and {m}|a {w}|two {n}s|{an} who {v}|{am} that can talk|nothing|everything|life|money|time|family|holidays|Christmas|Easter|sports|football|war|peace|science|space|the moon|animals|nature|music|school|work|dreams|children|a clown|a vampire|a nurse|a bus driver|my mother|my brother|my sister|a zombie|a ninja|a cowboy|Santa|a big city|the future|the past|a king and a queen|a magic {n}|the number {num}|a hungry {n}]",
             n=n, m=m, an=an(n), am=an(m), w=nonsense(r), g=r.choice(GENRES + LIKE), v=r.choice(["sings", "dreams", "cannot speak", "loves to dance", "is never happy", "is lost"]), num=r.randint(1, 20))
    return r.choice(ASK).format(x=x)


def pick_hero(r):
    """Requests spread evenly over the kinds, so that no kind of hero is a stranger."""
    g = r.choices(["animal", "fantasy", "adult", "kid", "object", None], [5, 4, 2.5, 2, 2.5, 2])[0]
    if g == "object": return {"plot": r.choice(["object_hero", "object_travel"])}
    if g is None: return {}
    table = {"animal": ANIMALS, "fantasy": FANTASY, "adult": ADULTS, "kid": ["boy", "girl", "prince", "princess"]}[g]
    return {"hero": {"group": g, "kind": r.choice(list(table))}}


def epilogue(r, s):
    h = s.v["h"]
    t = s.expand(r.choice([
        "After that, {h.name} lived happily for many years and told the story to everyone who wanted to hear it.",
        "The next day, {h.name} [woke up early|smiled at the sun] and set out on a new adventure. But that is another story.",
        "{h.name} [grew up|lived on] and never forgot that day. And sometimes, in the evening, {h.he} still told the tale."]))
    return t


def story_turns(r, style, first=True, room=3000):
    kw = pick_hero(r)
    if "hero" in kw:  # a plot that has a part for such a hero
        for _ in range(8):
            s = story(r, detail=r.choice([0, .25, .5, .75]), **kw)
            if s.topic == kw["hero"]["kind"]: break
    else:
        s = story(r, detail=r.choice([0, .25, .5, .75]), **kw)
    ask = r.choice(ASK_ANY if first else ANOTHER) if r.random() < (.15 if first else .3) else request(r, s)
    if r.random() < .07: ask = strange_request(r, s)
    if not first and ask in ASK and r.random() < .5: ask = "Now " + ask[0].lower() + ask[1:]
    body = s.text
    if r.random() < .08 and s.topic: body = fill(r, "[Here is a story about {x}.|Of course! Here is a story about {x}.|Gladly! This is a story about {x}.]\n\n", x=an(s.v["h"].kind)) + body
    turns = [(style(ask), body)]
    questions = list({q: (q, a) for q, a in s.questions}.values())
    r.shuffle(questions)
    n = r.choice([0, 1, 1, 2, 2, 3, 4])
    for q, a in questions[:n]: turns.append((style(q), a))
    if r.random() < .1: turns.append((style(fill(r, "[What is a good title for the story?|Give the story a title.|What is the story called?|What should we call this story?]")), f'I would call it "{polish(title(s))}".'))
    if r.random() < .08: turns.append((style(fill(r, "[What happened next?|And then?|What happened after that?|Is there more?|Go on.|Continue.]")), epilogue(r, s)))
    if r.random() < .08: turns.append((style(fill(r, "[Did you like the story?|I liked that story.|That was a good story.|What a nice story!|I love this story!]")), fill(r, "[I am glad! I like {n}, too.|Thank you! {n} is a hero after my own heart.|Yes, I like stories like that.]", n=s.v["h"].name)))
    return turns


def styler(r):
    """How this user types: carefully, all in small letters, without full stops."""
    kind = r.choices(["careful", "lower", "bare", "polite"], [6, 2, 2, 1])[0]

    def f(t):
        if kind == "lower": return t.lower().rstrip(".?!") if r.random() < .7 else t.lower()
        if kind == "bare": return t.rstrip(".?!")
        if kind == "polite" and r.random() < .4 and t.endswith("?"): return "Please, " + t[0].lower() + t[1:]
        return t
    return f


def chat(r, budget=2600):
    """One conversation in ChatML, at most about `budget` characters so that it fits a training row."""
    style = styler(r)
    turns = []
    kind = r.choices(["story", "small", "mixed"], [5, 3, 3])[0]
    name = names(r) if r.random() < .12 else None
    if name: turns.append(name[0])
    elif r.random() < .2: turns.append((style(greet(r)[0]), greet(r)[1]))
    if kind != "small":
        if kind == "mixed" and r.random() < .5: turns += [small(r, style) for _ in range(r.randint(1, 2))]
        turns += story_turns(r, style)
        if r.random() < .2: turns.append((style(thanks(r)[0]), thanks(r)[1]))
        if r.random() < .22: turns += story_turns(r, style, False)
    if kind != "story": turns += [small(r, style) for _ in range(r.choice([1, 1, 2, 3, 5, 8]))]
    if name: turns.append((style(name[1][0]), name[1][1]))
    if r.random() < .1: turns.append((style(bye(r)[0]), bye(r)[1]))
    out, size = "", 0
    if r.random() < .12:
        out = "<|im_start|>system\n" + r.choice(["You are a helpful assistant.", "You are a storyteller.", "You are Ember, a small storyteller.", "You tell short stories and answer simple questions.", "Be kind and helpful.", "You are a helpful AI assistant named Ember."]) + "<|im_end|>\n"
    for q, a in turns:
        if size + len(q) + len(a) > budget and size: break
        size += len(q) + len(a) + 30
        out += f"<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n{a}<|im_end|>\n"
    return out


def small(r, style):
    if r.random() < .05: return (lambda p: (style(p[0]), p[1]))(thanks(r))
    if r.random() < .05:
        q, a = r.choice(RIDDLES).split("=")
        if r.random() < .5: return style(fill(r, "[Tell me a riddle.|Do you know a riddle?|Give me a riddle.]")), f"{q} The answer is {a}!"
        return q, f"You are {a}!" if not a.startswith("your") else "You are my shadow!"
    q, a = r.choice(SMALL)(r)
    return style(q), a
