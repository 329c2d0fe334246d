"""Stories from a grammar: a teller holds who and what a story is about, a plot tells it beat by beat.

Templates: [a|b|c] picks one (they nest), {h} names the hero (sometimes "the little fox"), {h.he} {h.his} {h.went} are his words,
{H} begins a sentence after a quotation. A plot draws its characters and things first, so what it says stays consistent; it also
leaves questions with answers behind (s.qa), from which the chat data is made.
"""
import re
from functools import lru_cache

from story_world import (ADULTS, ANIMALS, BOYS, CRITTERS, FABLED, FANTASY, GIRLS, KIDS, OBJECT_HEROES, OBJECT_NOUNS, SETTINGS, THINGS)

ONSETS = "b br c d dr f fl g gr h j k l m n p pl r s sh t tr v w z".split()
VOWELS = "a e i o u a e i o oo ee".split()
CODAS = " l n r m s x k nd bb sk".split(" ")


def nonsense(r):
    """A word that nobody knows."""
    return r.choice(ONSETS) + r.choice(VOWELS) + r.choice(["rb", "lp", "n", "mp", "dd", "x", "ng", "rk", "rf", "st", "ck", "ll", "b"]) + r.choice(["", "", "le", "o", "y", "er", "in"])


def cap(t):
    return t[:1].upper() + t[1:]


# --- templates ------------------------------------------------------------------------------------------------------------

@lru_cache(maxsize=None)
def parse(t):
    """A template as nested lists: strings, ("var", name) and ("alt", [sequence, ...])."""
    def sequence(i, inside):
        items, text = [], ""
        while i < len(t):
            c = t[i]
            if c == "{":
                j = t.index("}", i)
                items += [text, ("var", t[i + 1:j])]
                text, i = "", j + 1
            elif c == "[":
                choices = []
                while t[i] != "]":
                    seq, i = sequence(i + 1, True)
                    choices.append(seq)
                items += [text, ("alt", choices)]
                text, i = "", i + 1
            elif inside and c in "|]":
                break
            else:
                text, i = text + c, i + 1
        return [x for x in items + [text] if x], i
    return sequence(0, False)[0]


SOUNDS_LIKE_CONSONANT = re.compile(r"(uni|use|one\b|once|eu)")
ARTICLE = re.compile(r"\b([Aa]) (?=([aeiou]\w*))")
SENTENCE = re.compile(r'(^|[.!?] +|\n|[.]" +|(?:^|[^,]\s|\n)")([a-z])')


def polish(t):
    """Articles, capitals and spaces, so that templates need not care."""
    t = re.sub(r" +", " ", t).strip()
    t = re.sub(r" ([,.!?])", r"\1", t)
    t = ARTICLE.sub(lambda m: m[0] if SOUNDS_LIKE_CONSONANT.match(m[2]) else m[1] + "n ", t)
    return SENTENCE.sub(lambda m: m[1] + m[2].upper(), t)


# --- who and what ---------------------------------------------------------------------------------------------------------

class Who:
    """A character. Named ones are mostly called by name; nameless ones by their kind ("the owl")."""

    def __init__(self, s, group, kind, name=None, female=None, adj=None):
        r = s.rng
        self.s, self.group, self.kind, self.name, self.told = s, group, kind, name, 0
        female = r.random() < .5 if female is None else female
        if kind in ("boy", "prince", "king", "fisherman", "wizard", "snowman"): female = False
        if kind in ("girl", "princess", "queen", "fairy", "witch", "mermaid", "hen", "cow"): female = True
        self.female = female
        self.he, self.him, self.his, self.self = ("she", "her", "her", "herself") if female else ("he", "him", "his", "himself")
        self.adj = adj or r.choice({
            "kid": ["little", "little", "young", "small", "cheerful", "curious", "clever", "quiet", "kind"],
            "animal": ["little", "little", "young", "small", "curious", "shy", "cheerful", "fluffy", "clever", "brave", "sleepy"],
            "fantasy": ["little", "young", "small", "lonely", "friendly", "kind", "clumsy", "curious", "gentle"],
            "adult": ["kind", "poor", "old", "young", "clever", "busy", "cheerful", "lonely"],
        }[group])
        if kind in ("puppy", "kitten", "lamb") and self.adj in ("young", "old"): self.adj = "little"
        table = ANIMALS.get(kind)
        if table:
            self.walked, self.hands, self.home = table[1], table[2], table[3].replace("its", self.his)
            self.food = r.choice(table[4].split())
        elif kind in FANTASY:
            f = FANTASY[kind]
            self.walked, self.hands, self.home, self.food = f[1], f[2], f[3], r.choice(f[4].split())
        else:
            self.walked, self.hands = r.choice(["walked", "hurried", "ran"]), "hands"
            self.home = ADULTS[kind][1] if kind in ADULTS else r.choice(
                ["a little house with a red door", "a cozy cottage", "a small white house", "a house full of books", "a blue house with a garden"])
            self.food = r.choice("pancakes cookies soup strawberries pies cakes apples noodles".split())

    def get(self, attr):
        if attr == "a": return f"a {self.adj} {self.kind}"
        if attr == "akind": return f"a {self.kind}"
        if attr == "the": return f"the {self.adj} {self.kind}"
        if attr == "nk": return self.name if self.group == "kid" else f"{self.name} the {self.kind}"
        if attr == "ref":
            self.told += 1
            if not self.name: return f"the {self.kind}"
            # A second way to say it, where no other character is of that kind.
            if self.told > 3 and self.group != "made" and self.s.rng.random() < .14 and not self.s.same_kind(self):
                return self.s.rng.choice([f"the {self.kind}", f"the {self.adj} {self.kind}"])
            return self.name
        if attr in ("He", "His", "A", "The", "Name"): return cap(self.get(attr.lower()))
        if attr == "went": return self.walked if self.s.rng.random() < .7 else self.s.rng.choice(["went", "hurried"])
        if attr == "hand": return self.hands[:-1]
        return getattr(self, attr)


class Thing:
    def __init__(self, r, noun=None, tag=None):
        nouns = [n for n in THINGS if tag is None or tag in THINGS[n][1].split()]
        self.n = noun or r.choice(nouns)
        self.adj = r.choice(THINGS[self.n][0].split())
        self.tags = THINGS[self.n][1].split()

    def get(self, attr):
        return {"a": f"a {self.adj} {self.n}", "the": f"the {self.adj} {self.n}", "A": f"A {self.adj} {self.n}",
                "The": f"The {self.adj} {self.n}", "n": self.n, "ref": f"the {self.n}", "adj": self.adj, "full": f"{self.adj} {self.n}"}[attr]


class Where:
    def __init__(self, r, key):
        self.key, d = key, SETTINGS[key]
        self.within = r.choice(d["within"])
        self.the, self.water, self.far, self.d, self.r = d["the"], d["water"], d["far"], d, r

    def get(self, attr):
        if attr in ("in", "ref"): return self.within
        if attr == "In": return cap(self.within)
        if attr == "path": return self.r.choice(self.d["path"])
        if attr == "scene": return self.r.choice(self.d["scenes"])
        if attr == "The": return cap(self.the)
        return getattr(self, attr)


class Teller:
    """Tells one story. `detail` between 0 and 1 decides how often optional beats are told."""

    def __init__(self, rng, detail=None, plot=None, hero=None):
        self.rng, self.v, self.cast, self.paragraphs, self.questions = rng, {}, [], [[]], []
        self.detail = rng.choice([.25, .5, .75, 1]) if detail is None else detail
        self.want = hero
        self.topic = None
        name = plot or rng.choice(PLOT_NAMES)
        self.plot = name
        PLOTS[name](self)
        self.finish()

    # -- saying
    def expand(self, t):
        out = []

        def walk(seq):
            for x in seq:
                if isinstance(x, str): out.append(x)
                elif x[0] == "alt": walk(self.rng.choice(x[1]))
                else: out.append(self.value(x[1]))
        walk(parse(t))
        return "".join(out)

    def value(self, name):
        name, _, attr = name.partition(".")
        if name == "oneday": return self.one_day()
        upper = name[0].isupper()
        x = self.v[name.lower() if upper else name]
        if isinstance(x, str):
            x = self.expand(x) if "{" in x or "[" in x else x
        else:
            x = x.get(attr or "ref")
        return cap(x) if upper else x

    def __call__(self, *templates):
        self.paragraphs[-1].append(self.expand(self.rng.choice(templates)))

    def o(self, p, *templates):
        if self.rng.random() < p * self.detail: self(*templates)

    def para(self):
        if self.paragraphs[-1]: self.paragraphs.append([])

    def qa(self, q, a):
        self.questions.append((polish(self.expand(q)), polish(self.expand(a))))

    def pick(self, *xs):
        return self.rng.choice(xs)

    def set(self, **kw):
        self.v.update(kw)

    # -- casting
    def same_kind(self, who):
        return any(c is not who and c.kind == who.kind for c in self.cast)

    def name(self, group, female):
        r = self.rng
        used = {c.name for c in self.cast}
        while True:
            if r.random() < .09:
                n = cap(r.choice(ONSETS) + r.choice(VOWELS) + r.choice("b d g k l ll m n p r s t v z".split()) + r.choice("a o i y u in a el er".split()) + r.choice(["", "", "", "n", "r"]))
            elif group in ("kid", "adult"): n = r.choice(GIRLS if female else BOYS)
            elif group == "fantasy": n = r.choice(FABLED + CRITTERS[:20])
            else: n = r.choice(CRITTERS + (GIRLS[:20] + ["Bella", "Hattie", "Dora", "Mabel", "Millie", "Tilly"] if female else BOYS[:20] + ["Rufus", "Percy", "Otis", "Gus", "Basil", "Bruno"]))
            if n not in used: return n

    def hero(self, groups, settings=None):
        """Draws the hero from the groups a plot can use, and a setting where such a one is at home."""
        r = self.rng
        want = self.want or {}
        group = want.get("group")
        if group not in groups:
            weights = {"kid": 4, "animal": 5, "fantasy": 2, "adult": 2}
            group = r.choices(groups, [weights[g] for g in groups])[0]
        table = {"kid": KIDS, "animal": ANIMALS, "fantasy": FANTASY, "adult": ADULTS}[group]
        for _ in range(50):
            kind = want.get("kind") if want.get("kind") in table else r.choice(list(table))
            if group == "kid" and want.get("kind") not in table and r.random() < .85: kind = r.choice(["boy", "girl"])
            homes = table[kind] if group == "kid" else table[kind][0]
            homes = [x for x in homes.split() if x in SETTINGS and (settings is None or x in settings)]
            if self.plot not in UNDER_WATER: homes = [x for x in homes if x != "ocean"]
            if homes: break
        else:  # a wanted hero who cannot be in this plot: any other one
            self.want = None
            return self.hero(groups, settings)
        p = Where(r, r.choice(homes))
        h = Who(self, group, kind)
        h.name = self.name(group, h.female)
        self.cast.append(h)
        self.set(h=h, p=p)
        self.topic = kind
        spots, marks = r.sample(p.d["spots"], 4), r.sample(p.d["marks"], 3)
        self.set(s1=spots[0], s2=spots[1], s3=spots[2], s4=spots[3], m1=marks[0], m2=marks[1], m3=marks[2], food=h.food,
                 weather=r.choice(["sunny", "windy", "cloudy", "bright", "foggy", "quiet", "warm", "cool"]))
        return h

    def friend(self, key="f", named=True, kind=None, group=None, female=None, adj=None):
        """Another character of the same setting; mostly of the other sex than the hero, so that pronouns stay clear."""
        r, h = self.rng, self.v["h"]
        taken = {c.kind for c in self.cast}
        if kind is None:
            if h.group in ("kid", "adult") and named and r.random() < .55: group, kind = "kid", r.choice(["boy", "girl"])
            else: kind = r.choice([k for k in self.v["p"].d["folk"].split() if k not in taken])
        group = group or ("animal" if kind in ANIMALS else "fantasy" if kind in FANTASY else "kid" if kind in KIDS else "adult")
        if female is None: female = (not h.female) if r.random() < .85 else h.female
        c = Who(self, group, kind, None, female, adj or (None if named else r.choice(["old", "old", "wise", "friendly", "kind", "gentle"] + (["gray", "big", "tiny", "sleepy"] if group == "animal" else ["young"]))))
        if named: c.name = self.name(group, c.female)
        self.cast.append(c)
        self.set(**{key: c})
        return c

    # -- common beats
    def one_day(self):
        r = self.rng
        return r.choice(["one day", "one morning", "one {weather} morning", "one {weather} day", "one afternoon", "one {weather} afternoon", "one day in spring",
                         "one autumn day", "early one morning", "one summer day", "one evening", "one day"]).replace("{weather}", self.v["weather"])

    def intro(self):
        h, x = self.v["h"], self.rng.random()
        if x < .2: first = self.lead_in()
        elif x < .55: first = self.pick(
            "Once upon a time, {p.in}, there [lived|was] {h.a} named {h.name}.",
            "Once upon a time, there was {h.a} named {h.name}. {h.He} lived {p.in}.",
            "Once upon a time, there [was|lived] {h.a} [called|named] {h.name} who lived {p.in}.",
            "Once upon a time, {h.a} named {h.name} lived {p.in}.",
            "Once, {p.in}, there lived {h.a}. {h.His} name was {h.name}.")
        else: first = self.pick(
            "There once was {h.a} [called|named] {h.name}. {h.He} lived {p.in}.",
            "There was once {h.a} whose name was {h.name}. {h.His} home was {h.home}, {p.in}.",
            "{h.name} was {h.a} who lived {p.in}.",
            "Once there was {h.a} [called|named] {h.name}, who lived {p.in}.",
            "{h.A} named {h.name} lived {p.in}.",
            "{h.The} {h.name} lived {p.in}." if h.group != "adult" else "{h.A} named {h.name} lived {p.in}.",
            "There was a {h.kind} named {h.name} who lived {p.in}. {h.name} was {h.adj}.",
            "One {weather} morning, {h.a} named {h.name} woke up {p.in}.",
            "One day, {p.in}, {h.a} named {h.name} [looked out of the window|sat in the sun|was humming a tune].",
            "{h.nk} lived {p.in}.",
            "{p.In} lived {h.a} named {h.name}.",
            "{p.In}, there [lived|was] {h.a} [called|named] {h.name}.",
            "Long ago, {p.in}, there was {h.a} named {h.name}.",
            "Long, long ago, {h.a} named {h.name} lived {p.in}.",
            "Far away, {p.in}, lived {h.a} [called|named] {h.name}.",
            "Not so long ago, {p.in}, there lived {h.a} by the name of {h.name}.",
            "This is the story of {h.name}, {h.a} who lived {p.in}.",
            "Have you heard about {h.name}? {h.He} was {h.a}, and {h.he} lived {p.in}.",
            "Everyone knew {h.name}, {h.the} who lived {p.in}.",
            "The sun was [rising|shining], and {h.name} was already awake. {h.name} was {h.a} who lived {p.in}.",
            "It was a {weather} morning {p.in}. {h.name}, {h.a}, [opened {h.his} eyes|woke up early|looked out at the world].",
            "Every morning, {h.nk} [looked up at the sky and smiled|said hello to the sun|sang a little song]. {h.He} lived {p.in}.",
            "My grandmother once told me about {h.a} named {h.name}, who lived {p.in}.",
            "When the world was young, there was {h.a} named {h.name} who lived {p.in}.",
            "It was a [cold|dark|quiet|stormy|starry|clear|long] [winter|autumn|summer|spring] [night|evening]. {p.In}, {h.a} named {h.name} [was still awake|sat by the window|was listening to the wind].",
            "It was a [cold|warm|quiet|fine|gray|golden] [winter|autumn|summer|spring] [day|morning|afternoon] {p.in}. {h.A} named {h.name} [was out for a walk|was humming a song|looked at the sky].",
            "The night was [dark|cold|quiet], and the stars were out. {p.In}, {h.a} named {h.name} was dreaming.",
            "The {h.kind} was called {h.name}. {h.He} was {h.adj}, and {h.he} lived {p.in}.",
            "The {h.kind} lived {p.in}. {h.His} name was {h.name}, and everyone liked {h.him}.",
            "The {h.kind} [opened one eye|yawned|smiled|looked up]. It was morning {p.in}. \"Another day!\" said {h.name}, for that was the {h.kind}'s name.",
            "\"Good morning, world!\" [said|called|cried] {h.name}. {h.name} was {h.a} who lived {p.in}.",
            "\"What a beautiful day!\" said {h.name}. {h.He} was {h.a} and lived {p.in}.",
            "\"I am so bored,\" sighed {h.name}. {h.He} was {h.a} who lived {p.in}.",
            "\"Wake up, {h.name}!\" called a voice. {h.name}, {h.a} who lived {p.in}, [rubbed {h.his} eyes|jumped up at once].",
            "\"Where are you going, {h.name}?\" asked a neighbor. \"Out into the sunshine!\" said {h.name}, {h.a} who lived {p.in}.",
            "{h.name} woke up. It was a {weather} morning {p.in}, and {h.he}, {h.a}, [was ready for the day|was wide awake].",
            "{h.name} [smiled|was happy|looked around|stretched and yawned]. {h.He} was {h.a}, and {h.he} lived {p.in}.",
            "[Many years ago|A long time ago|Years and years ago|Once, long ago], {h.a} named {h.name} lived {p.in}.",
            "In the days when [animals could talk|wishes still came true|the moon was new], there lived {h.a} named {h.name}, {p.in}.",
            "Somewhere {p.in}, there lived {h.a} named {h.name}.",
            "Let me tell you about {h.name}. {h.He} was {h.a} who lived {p.in}.",
            "Listen! This is what happened to {h.name}, {h.a} who lived {p.in}.",
            "It all began {p.in}, where {h.a} named {h.name} lived.",
            "On a {weather} [day|morning] {p.in}, {h.a} named {h.name} [went for a walk|sat in the sun|was looking for something to do].",
            "{h.A} lived {p.in}. {h.His} name was {h.name}.",
            "There was {h.a} who lived {p.in}. Everyone called {h.him} {h.name}.",
            "There lived {h.a} {p.in}, and {h.his} name was {h.name}.",
            "One [winter|summer|autumn|spring|night|evening], {p.in}, there was {h.a} named {h.name}.",
            "In a land far away, there was {h.a} named {h.name}. {h.He} lived {p.in}.")
        self(first)
        self.qa("[What was the {h.kind}'s name?|What was the name of the {h.kind}?|Who was the story about?|What was the hero's name?|Who was the main character?]",
                "[The {h.kind}'s name was {h.name}.|It was {h.name}, {h.the}.|The story was about {h.a} named {h.name}.]")
        self.qa("[Where did {h.name} live?|Where did the story happen?|Where was {h.name}'s home?]", "{h.name} lived {p.in}.")
        if self.rng.random() < .25: self.qa("Was {h.name} a {h.kind}?", "Yes, {h.name} was {h.a}.")
        else: self.qa("[Who was {h.name}?|What kind of animal was {h.name}?]" if h.group == "animal" else "Who was {h.name}?", "{h.name} was {h.a}.")
        self.o(.35, "{p.scene}")
        self.o(.25, "{h.His} home was {h.home}.", "{h.He} lived in {h.home}.")
        self.o(.3, *(["{h.He} loved {h.food} and [long walks|warm sunshine|funny stories|rainy days].", "{h.name} was always [kind|polite|cheerful|curious].",
                      "{h.He} had [bright eyes and a big smile|a kind heart|many questions and a good heart]."]))

    def lead_in(self):
        """Beginnings of every sort, each ending with who the story is about: people begin a story with anything."""
        h, r = self.v["h"], self.rng
        noun = r.choice(OBJECT_NOUNS) if r.random() < .8 else nonsense(r)
        self.set(noun=noun, other=r.choice(list(ANIMALS)), mood=r.choice("sad tired happy hungry lonely bored late cold angry proud lost sleepy thirsty busy".split()),
                 act=r.choice(["opened the door", "sat on a stone", "looked up", "ran down the hill", "smiled", "yawned", "was hungry", "was all alone", "stood at the gate", "listened", "waited", "was sad", "was happy", "was tired", "began to sing",
                               "laughed", "sighed", "went home", "was in a hurry", "found a {noun}", "saw a {noun}", "had a {noun}", "was not asleep", "jumped up", "came home late", "closed the window"]),
                 person=r.choice(["grandmother", "grandfather", "mother", "father", "teacher", "sister", "uncle", "captain"]))
        who = self.pick("{h.His} name was {h.name}, and {h.he} lived {p.in}.", "{h.He} lived {p.in}, and {h.his} name was {h.name}.", "{h.name}, for that was {h.his} name, lived {p.in}.")
        he = self.pick("{h.He} was {h.a} who lived {p.in}.", "{h.He} was {h.a}, and {h.he} lived {p.in}.", "{h.name} was {h.a} and lived {p.in}.")
        named = self.pick("{p.In}, there was {h.a} named {h.name}.", "And {p.in}, {h.a} named {h.name} was awake.", "{h.A} named {h.name} lived {p.in}.", "This is a story about {h.a} named {h.name}, who lived {p.in}.")
        frame = self.pick("So this is the story they heard:", "And this is how the story went:", "And then the story began:", "\"Listen,\" {person2} said, and told this story:".replace("{person2}", "a voice")) + " " + self.pick("{h.A} named {h.name} lived {p.in}.", "There was {h.a} named {h.name} who lived {p.in}.")
        return self.pick(
            "{h.The} {act}. " + who, "{h.The} {act}. " + who, "The {h.kind} {act}. " + who, "A {h.kind} {act}. " + who, "An old {h.kind} {act}. " + who, "One {h.kind} {act}. " + who,
            "{h.name} was {mood}. " + he, "{h.name} {act}. " + he, "{h.name} had a [cat|dog|brother|sister|garden|secret|dream|plan|{noun}|friend]. " + he, "{h.name} and {h.his} [mother|father|sister|brother|friends|family] lived {p.in}. {h.name} was {h.adj}.",
            "{h.He} was {h.a}, and {h.his} name was {h.name}. {h.He} lived {p.in}.",
            "The [last|first|smallest|bravest|oldest|youngest|kindest|strangest|happiest] {h.kind} [in the world|in the land|on earth|of all|in town] was called {h.name}. " + he,
            "An old {h.kind} named {h.name} lived {p.in}.", "{h.The} was called {h.name}. {h.He} lived {p.in}.", "The [old|young|little|poor|good|brave|clever] {h.kind} was called {h.name}. {h.He} lived {p.in}.",
            "The [old|young|little|poor|good] {h.kind} named {h.name} lived {p.in}.", "Once there [was|lived] a {h.kind}. {h.His} name was {h.name}, and {h.he} lived {p.in}.",
            "In a land of [dragons|snow|mountains|giants|flowers|{noun}s|{other}s|kings and queens|ice and fire], there lived {h.a} named {h.name}. {h.name} lived {p.in}.",
            "In a land where [it was always summer|the sun never set|nobody was sad|every {noun} could talk], there was {h.a} named {h.name}. {h.He} lived {p.in}.",
            "When [winter|spring|summer|autumn|night|morning|the rain|the snow|the storm] came, " + self.pick("{h.a} named {h.name} looked out at the world. {h.He} lived {p.in}.", "everyone went inside. Only {h.name} stayed outside. " + he),
            "It was [raining|snowing|late|early|dark|cold|hot|Monday|Sunday|spring|winter|summer|a fine day|a day like any other|very quiet|the first day of school|Christmas|a holiday|midnight|noon]. " + named,
            "The [rain|snow] was falling. " + named, "The [moon|sun] was [shining|rising|high in the sky|going down]. " + named, "The wind [blew|howled|sang]. " + named, "The stars [were out|twinkled|shone]. " + named,
            "There was a {noun} [on the table|in the garden|on the hill|in the grass|by the door|on the road]. It belonged to {h.name}, {h.a} who lived {p.in}.", "The {noun} was [old|broken|new|big|small|red|empty]. It belonged to {h.name}. " + he,
            "A {noun} and a {other}, that is all you need for a story. " + named, "{h.name} saw a {noun}. " + he, "{h.name} liked the {noun}. " + he, "{h.name} wanted a {noun}. " + he,
            "\"[Help|Oh no|Look out|Stop|Wait]!\" [cried|called|shouted] {h.name}. But it was only a dream. " + he, "\"[Hello|Look|Listen|Hurray|Come here|Good morning|Is anybody there|Who is there]!\" [cried|called|said|shouted] {h.name}. " + he,
            "\"[I am hungry|I am tired|I am so happy|I want to go home|It is cold|What is that|I have an idea|Let us play|I want a {noun}|Where is everybody],\" said {h.name}. " + he,
            "[Two|Three|Four] [friends|brothers|sisters|children|travelers|sailors|girls|boys|mice|kings|{other}s] [sat by the fire|could not sleep|were walking home|sat under a tree|met at an inn]. \"Tell us a story,\" they said. " + frame,
            "[Grandma|Grandpa|Mother|Father|The teacher|My uncle|An old man|The captain] said, \"Sit down, and I will tell you a story.\" " + frame, "A [boy|girl|child] and {h.his} [dog|cat|brother|grandmother] sat by the fire. \"Tell me a story.\" " + frame,
            "Last night, I had a dream. I dreamed of {h.a} named {h.name}, who lived {p.in}.", "Last [night|summer|winter|week|year], {p.in}, there was {h.a} named {h.name}.", "I know a story about {h.a} named {h.name}, who lived {p.in}.",
            "My [grandfather|mother|friend|neighbor] knew {h.a} named {h.name}, who lived {p.in}.", "Hello! This is a story about {h.a} named {h.name}, who lived {p.in}.", "My name is not important, but I know a story. " + named, "My dear friends, here is a story. " + named,
            "I have never told this story before. " + named, "Nobody knows why, but {h.name} {act}. " + he, "Have you ever seen a {noun}? {h.name} had. " + he, "Do you know what a {noun} is? {h.name} did. " + he, "On a [dark|cold|rainy|windy|snowy] [night|day|morning], {h.name} {act}. " + he,
            "At the end of [the road|the world|summer|a long day], there was {h.a} named {h.name}, who lived {p.in}.", "High [above the clouds|on a hill|in the sky], the birds were singing. Below, {p.in}, lived {h.a} named {h.name}.", "After [the rain|the storm|dinner|school|a long winter], {h.name} {act}. " + he,
            "Everybody was [asleep|happy|busy|sad|at home]. Only {h.name} was not. " + he, "Every [evening|night|day|year|winter|Sunday], {h.name} {act}. " + he, "Deep [in the night|under the ground|down], something moved. It was {h.name}. " + he, "Yesterday, {h.name} {act}. " + he, "Today was a [good|bad|special|strange] day for {h.name}. " + he)

    def feel(self, who, mood):
        self.set(w=who)
        self(*{
            "sad": ["{W} felt very sad.", "[A tear ran|Tears ran] down {w.his} [cheek|face].", "{W} [sat down and cried|hung {w.his} head|did not know what to do].",
                    "{W}'s heart felt heavy."],
            "glad": ["{W} [smiled from ear to ear|was so happy|jumped for joy|laughed out loud].", "{w.His} heart was [warm|full of joy|as light as a feather].",
                     "How happy {w.he} was!"],
            "afraid": ["{W}'s heart [beat fast|pounded like a drum].", "{W} [trembled|shivered|was afraid].", "{W} was shaking all over."],
            "proud": ["{W} [felt proud|stood tall|was very proud].", "{W} had never been so proud."],
        }[mood])

    def feast(self, others="{f}"):
        if self.v["p"].key == "ocean": return
        self.set(others=others)
        self.o(.6, "That evening, {h} and {others} [ate {food} together|shared {food}|sat together and ate {food}] [under the stars|by the fire|until the moon rose|and laughed].",
               "[Afterward|Later], they [sat together and talked|shared a big plate of {food}|sang songs] until [it was dark|the stars came out].")

    def finish(self):
        r = self.rng
        if r.random() < .45:
            if r.random() < .5: self.para()
            self("The end.")
        paragraphs = [polish(" ".join(p)) for p in self.paragraphs if p]
        # Most stories keep their paragraphs; short ones are often told in one breath.
        self.text = ("\n\n" if r.random() < .7 else " ").join(paragraphs)

    def moral(self, *lessons):
        """The lesson, said in one of several ways; and the question for it."""
        m = self.expand(self.rng.choice(lessons))
        self.set(lesson=m)
        self.qa("[What did {h.name} learn?|What is the lesson of the story?|What is the moral of the story?|What can we learn from this story?]",
                "[{h.name} learned that {lesson}.|The lesson is that {lesson}.|We can learn that {lesson}.]")
        self("From that day on, {h} [knew|remembered] that {lesson}.", "{H} [had learned|learned] that {lesson}.", "And {h} never forgot that {lesson}.",
             "That day, {h} [learned|understood] that {lesson}.", "And so {h} learned [something important|a good lesson]: {lesson}.")


# --- plots ----------------------------------------------------------------------------------------------------------------

def lost(s):
    """A dear thing goes missing; searching, a helper, a find."""
    h = s.hero(["kid", "animal", "fantasy", "adult"])
    t = Thing(s.rng)
    k = s.friend("k", named=s.rng.random() < .4)
    s.set(t=t, src=s.pick("{h.his} grandmother", "{h.his} grandfather", "{h.his} mother", "{h.his} best friend", "an old traveler", "{h.his} father"),
          junk1=s.pick("an old shoe", "a sleepy snail", "a broken cup", "dust and leaves", "a few dry sticks", "a cold puddle", "an empty nest"),
          junk2=s.pick("a beetle", "a rusty nail", "a very surprised frog", "nothing but shadows", "a pile of leaves", "some old rope"))
    asked = s.rng.random() < .12
    if asked: s("\"Where is my {t.n}?\" [asked|cried|said] {h.name}.", "\"My {t.n} is gone!\" cried {h.name}.", "\"Has anyone seen my {t.n}?\" asked {h.name}.", "{h.name} could not find {h.his} {t.n}.")
    if asked: s("{h.He} was {h.a} who lived {p.in}.", "{h.name}, {h.a}, lived {p.in}.")
    else: s.intro()
    s("{h.His} dearest treasure was {t.a}, a gift from {src}.", "{h.He} had {t.a} that {h.he} loved more than anything.", "{H} had {t.a}. It had been a gift from {src}, and {h.he} took it everywhere.",
      "What {h.he} loved most was {t.the} that {src} had given {h.him}.")
    s.para()
    ways = ["left"]
    if "light" in t.tags and s.v["p"].key != "ocean": ways += ["wind"] * 2
    if "round" in t.tags: ways += ["roll"] * 2
    if "shiny" in t.tags and s.v["p"].key != "ocean": ways += ["bird"] * 2
    if "small" in t.tags and h.group in ("kid", "adult"): ways += ["hole"] * 2
    way = "left" if asked else s.rng.choice(ways)
    if way == "wind":
        s("One windy [morning|day|afternoon], {h} was [walking|playing] {p.path} when a strong gust of wind came. It [caught|grabbed] {t} and carried it away.",
          "But one day a storm blew over {p.the}. [Whoosh!|] The wind snatched {t} from {h.his} {h.hands}, and away it flew.")
        s.qa("[How did {h.name} lose {t}?|What happened to {t}?]", "The wind carried it away.")
    elif way == "roll":
        s("{oneday}, {h} was [playing|walking] {p.path} and tripped over a [stone|root]. {t.The} fell, rolled away, and was gone.",
          "{oneday}, {h} dropped {t.the}. It rolled and rolled {p.path} until {h.he} could not see it anymore.")
        s.qa("[How did {h.name} lose {t}?|What happened to {t}?]", "It fell down and rolled away.")
    elif way == "bird":
        s("{oneday}, {h} put {t.the} down for a moment to [pick some flowers|drink some water|tie up a bundle|rest]. When {h.he} turned around, it was gone!")
    elif way == "hole":
        s("{oneday}, {h} put {t.the} in {h.his} pocket and went for a walk. But there was a small hole in the pocket. When {h.he} came home, {t} was gone.")
        s.qa("[How did {h.name} lose {t}?|Why did {h.name} lose {t}?]", "There was a hole in {h.his} pocket.")
    elif asked:
        s("But that morning, it was not in its place.", "And now it was gone.", "Yesterday it had still been there.")
    else:
        s("{oneday}, after a long [walk|day|game], {h} reached for {t.the}, but it was not there!", "{oneday}, {h} woke up and saw that {t.the} was gone.",
          "But {oneday}, {h} could not find {t.the} anywhere.")
    s('"Oh no!" cried {h}. "Where is my {t.n}?"', '"My {t.n}!" {h.he} cried. "I have lost my {t.n}!"', '"It must be somewhere," said {h}, and {h.he} began to search.')
    s.o(.7, *["{H} felt very sad.", "{h.His} heart felt heavy.", "{H} was so worried that {h.he} could not even eat."])
    s.para()
    s("First, {h} looked {s1}, but there was only {junk1}.", "{H} searched {s1}. All {h.he} found was {junk1}.", "{H} [looked|searched] {s1}, but {t} was not there.")
    s.o(.9, "Then {h.he} looked {s2}, but {h.he} found only {junk2}.", "Next, {h.he} {h.went} to {m1} and looked around, but there was no {t.n}.",
        "After that, {h.he} looked {s2}. There was {junk2}, but no {t.n}.")
    s.para()
    first = "{k.a}" if not k.name else "{k.nk}"
    s.set(kfirst=first)
    s("Near {m2}, {h} met {kfirst}. \"Why [are you so sad|do you look so sad|are you crying]?\" asked {k}.",
      "Just then, {kfirst} came {p.path}. \"What are you looking for?\" asked {k}.", "{H} was about to give up when {kfirst} came by. \"Can I help you?\" asked {k}.")
    s('"I have lost my {t.full}," said {h}. "I have looked everywhere."', "{H} told {k} about the lost {t.n}.", '"My {t.n} is gone," said {h}, "and I do not know where to look."')
    if way == "bird":
        s('"I saw a magpie with something shiny," said {k}. "Magpies love shiny things. Its nest is near {m3}."', '{K} thought for a moment. "It is a shiny thing, is it? Then a magpie has taken it! Come with me to {m3}."')
        s("Together they went to {m3}. High in a tree, in the magpie's nest, something [gleamed|sparkled] in the sun. It was {t.the}! {K} helped {h} [to reach|to get] it, and they left the magpie a [shiny nut|bit of tinfoil|blue bead] so that it would not be sad.",
          "They {h.went} to {m3}, and there, in a nest, lay {t.the}. \"I only wanted something pretty,\" said the magpie. \"I am sorry.\" And it gave {t} back.".replace("{h.went}", "hurried"))
        s.set(spot="in a magpie's nest near {m3}")
        s.qa("[Who took {t}?|Who had {t}?]", "A magpie took it because it was shiny.")
    else:
        s('"Do not worry," said {k}. "Think. Where did you last have it?"', '"I saw something [{s3}|near {m3}] this morning," said {k}. "Come, I will show you."', '"Let us look together," said {k}. "Four eyes see more than two."',
          '"Do not give up," said {k}. "I will help you."')
        s("They {k.went} {p.path} and looked {s3}. And there it was! {t.The} lay {s3}, [safe and sound|a little dirty, but whole|just waiting to be found].",
          "So they searched together. At last, {s3}, they saw something. It was {t.the}!", "Side by side, they went on looking. \"Look there!\" cried {k}. {t.The} was lying {s3}.")
        s.set(spot=s.v["s3"])
    s.qa("[What did {h.name} lose?|What was lost?|What was {h.name} looking for?]", "[{h.name} lost {t.the}.|It was {t.the}.]")
    s.qa("[Where was {t}?|Where did they find {t}?]", "They found it {spot}.")
    s.qa("[Who helped {h.name}?|Who helped {h.name} find {t}?]", "{kfirst} helped {h.him}." if not k.name else "{k.nk} helped {h.him}.")
    s.para()
    s('"Thank you!" said {h} and hugged {k}.', '"[Thank you so much|Thank you, thank you|You found it]!" cried {h}. "How can I ever thank you?"', "{H} held {t} tight. \"Thank you, my friend,\" {h.he} said.")
    s.o(.5, '"[That is what friends are for|I was glad to help|It was nothing]," said {k} [with a smile|and smiled].')
    s.set(f=k)
    s.feast("{k}")
    if way == "hole": s("At home, {h} took a needle and closed the hole in the pocket.", "Then {h} sewed up the hole, so that nothing could fall out again.")
    s.moral("it is good to ask for help", "friends make every search easier", "we should take good care of the things we love", "you should never give up too soon")


def foundling(s):
    """A lost young one is brought home to its mother."""
    h = s.hero(["kid", "animal", "adult", "fantasy"])
    pairs = [("duckling", "duck", "yellow", "quacking"), ("kitten", "cat", "gray", "meowing"), ("fawn", "deer", "spotted", "calling"), ("owlet", "owl", "fluffy", "hooting"),
             ("bear cub", "bear", "brown", "growling softly"), ("fox cub", "fox", "red", "calling"), ("lamb", "sheep", "white", "bleating"), ("chick", "hen", "yellow", "clucking"),
             ("puppy", "dog", "brown", "barking"), ("baby hedgehog", "hedgehog", "tiny", "sniffing"), ("bunny", "rabbit", "white", "calling")]
    young, old, color, sound = s.rng.choice([x for x in pairs if x[1] != h.kind and x[0] != h.kind])
    s.set(young=young, old=old, color=color, sound=sound, name=s.name("animal", False))
    k = s.friend("k", named=False)
    s.intro()
    s.para()
    s("{oneday}, {h} heard a soft [crying|sobbing] sound. It came from [somewhere close|a spot nearby]. There, {s1}, sat a [tiny|little] {color} {young}, all alone.",
      "{oneday}, as {h} was walking {p.path}, {h.he} saw something small {s1}. It was a {young}, and it was crying.",
      "{oneday}, {h} found a little {young} {s1}. It was [cold and hungry|shaking with cold|lost and afraid].")
    s('"Who are you?" asked {h} [gently|softly]. "I am {name}," sobbed the {young}. "I [chased a butterfly|followed a shiny beetle|fell asleep] and now I cannot find my mother."',
      '"Why are you crying?" asked {h}. "I have lost my mother," said the {young}. "I [ran too far|went too far from home|did not listen when she called]."')
    s('"Do not cry," said {h}. "[We will find her together|I will help you|I will take you home]."', '{H} [wrapped the {young} in something warm|gave the {young} some {food}|sat down beside the {young}]. "I will bring you home," {h.he} [promised|said].')
    s.para()
    s("First they went to {m1}, but [nobody there knew the {young}|no mother was there].", "They asked at {m1}. \"I do not know this {young},\" said the first one they met.", "They walked {p.path} and called and called, but no one answered.")
    s.o(.7, "Then it began to rain, and they [hid under a big leaf|waited under a tree] until it stopped.", "The {young} grew tired, so {h} carried it.", "The sun went down, and the {young} was afraid. {H} sang a little song to comfort it.")
    s("At {m2}, they met {k.a}. \"I heard a {old} {sound} near {m3},\" said {k}. \"She sounded [very worried|so sad].\"",
      "Then {k.a} came along. \"A {young}?\" said {k}. \"There is a {old} at {m3}. She has been looking for her little one all day.\"")
    s.para()
    s("They hurried to {m3}. \"Mama!\" cried the {young}. The mother {old} [ran to her little one|came running] and held it close.", "And there, at {m3}, was the mother {old}. \"My baby!\" she cried, and the {young} [ran|rushed] into her arms.".replace("into her arms", "to her"))
    s('"Thank you, {h.name}," said the mother {old}. "You have a kind heart."', 'The mother {old} turned to {h}. "You brought my child back. I will never forget it," she said.')
    s.o(.6, "She gave {h} [a basket of {food}|a soft feather for luck|a warm kiss on the nose].", "From then on, the {young} came to play with {h} every day.")
    s.feel(h, "glad")
    s.qa("[What did {h.name} find?|Who did {h.name} find?]", "{h.name} found a little {young} that had lost its mother.")
    s.qa("[Why was the {young} crying?|Why was the {young} sad?]", "It had lost its mother.")
    s.qa("[Where was the mother?|Where did they find the mother {old}?]", "The mother {old} was at {m3}.")
    s.para()
    s.moral("a kind heart can find the way home", "helping others makes you happy, too", "even small ones can do great things when they care", "no one should be left alone")


def fear(s):
    """Someone afraid of a thing must face it for a friend."""
    h = s.hero(["kid", "animal", "fantasy"])
    f = s.friend("f", named=True)
    what = s.pick("dark", "water", "high", "thunder", "big")
    s.set(what={"dark": "the dark", "water": "deep water", "high": "high places", "thunder": "thunder", "big": "loud noises"}[what])
    if h.kind in ("duck", "frog", "otter", "beaver", "seal", "penguin", "fish", "turtle", "crab") and what == "water": what, s.v["what"] = "dark", "the dark"
    if h.walked == "flew" and what == "high": what, s.v["what"] = "thunder", "thunder"
    s.intro()
    s("{h.name} was [brave in many things|good at many things], but {h.he} was afraid of {what}.", "There was only one problem: {h} was afraid of {what}.", "But {h} had a secret. {h.He} was terribly afraid of {what}.")
    s.o(.8, {"dark": "Every night, {h.he} [asked for a light|hid under the blanket|counted to a hundred until sleep came].", "water": "When the others [splashed and swam|went to swim], {h.he} stayed on dry land and watched.",
             "high": "{h.He} never climbed anything taller than a chair.", "thunder": "When the sky growled, {h.he} hid and covered {h.his} ears.", "big": "When something went bang, {h.he} hid under the nearest bush."}[what])
    s("Some of the others laughed at {h.him}. But {f.name}, {f.a} who was {h.his} best friend, never laughed.", "{h.His} best friend was {f.name}, {f.a}. {F} never laughed at {h}.",
      "Only {f.name}, {f.a} and {h.his} best friend, knew about it.")
    s.para()
    if what == "dark":
        s("One evening, {f} did not come home. [Everyone was worried.|] \"I think {f.he} went to {m1},\" someone said. It was already dark, and {h} could not see a thing.",
          "One night, {h} heard a small voice calling for help. It was {f}! The voice came from {m1}, where it was as dark as the inside of a boot.")
        s("{H} took a deep breath. \"{f.name} needs me,\" {h.he} whispered. Step by step, {h.he} {h.went} into the dark. [Something rustled.|An owl hooted.|A twig snapped.] {h.He} wanted to run away, but {h.he} went on.",
          "{H} wanted to hide. But then {h.he} thought of {f}, alone and afraid. So {h.he} {h.went} {p.path}, singing softly to feel brave.")
        s("At {m1}, {h.he} found {f}, who had [hurt a foot|gotten stuck in a hole|lost the way]. \"You came!\" said {f}. \"In the dark!\"")
        s("On the way back, {h} looked up. The sky was full of stars. \"I never knew that the dark was so beautiful,\" {h.he} said.", "{H} helped {f} home, and suddenly the dark was only the dark, and nothing more.")
        s.qa("[How did {h.name} help {f.name}?|What did {h.name} do?]", "{h.name} went into the dark to find {f.name}.")
    elif what == "water":
        s("{oneday}, {f} was playing near {p.water} when [the bank broke|{f.he} slipped on a wet stone|a wave came]. Splash! {F} fell into the water. \"Help!\" {f.he} cried.")
        s("{H} looked around, but there was no one else. {h.His} knees were shaking. Then {h.he} saw a long [branch|rope|plank]. {h.He} stepped into the cold water, deeper and deeper, and held out the end of it.",
          "There was no time to be afraid. {H} [jumped in|ran into the water], took hold of {f}, and pulled with all {h.his} might.")
        s("At last, both of them were safe on the ground. \"You saved me!\" said {f}.", "Soon {f} was back on dry land, wet and cold, but safe.")
        s("\"I was so busy helping you that I forgot to be afraid,\" said {h}. And they both laughed.", "The next day, {f} taught {h} how to swim. It was easier than {h.he} had thought.")
        s.qa("[How did {h.name} help {f.name}?|What happened to {f.name}?]", "{f.name} fell into the water, and {h.name} pulled {f.him} out.")
    elif what == "high":
        s("{oneday}, {f} climbed to the top of the tallest tree near {m1} to [look at the view|get a kite|see the sea]. But then {f.he} looked down and could not move. \"Help! I am stuck!\" {f.he} called.",
          "{oneday}, {f} climbed up on a high wall near {m1}. A stone broke off, and {f} could not get down again.")
        s("{H} looked up and felt dizzy. But no one else was there. \"I am coming,\" {h.he} called. \"I will not look down.\" Up and up {h.he} climbed, one small step at a time.",
          "{h.name}'s heart beat fast. \"One step, and then one more,\" {h.he} said to {h.self}, and {h.he} began to climb.")
        s("At the top, {h.he} took {f}'s {f.hand}. \"Do as I do,\" {h.he} said, and together they climbed down.", "{H} showed {f} where to put {f.his} feet, and slowly, slowly, they came down together.")
        s.qa("[How did {h.name} help {f.name}?|What happened to {f.name}?]", "{f.name} was stuck in a high place, and {h.name} climbed up to help {f.him}.")
    else:
        s("One night, there was a terrible storm. [Lightning lit up the sky.|The thunder rolled and crashed.] {H} was hiding in bed when {h.he} heard someone crying outside. It was {f}!".replace("{H}", "{h}") if what == "thunder" else
          "{oneday}, big men came to cut down an old tree near {m1}. Bang! Crash! The noise was terrible, and {h} hid. But then {h.he} heard someone crying. It was {f}!")
        s("{h.name} wanted to stay where {h.he} was. But a friend was in trouble. {h.He} [put {h.his} {h.hands} over {h.his} ears|took a deep breath] and ran out.", "\"It is only noise,\" {h} told {h.self}. \"Noise cannot bite.\" And {h.he} ran out to look for {f}.")
        s("{F} was sitting {s1}, [wet and cold|all alone and trembling]. {H} took {f.him} by the {f.hand} and led {f.him} home.", "{h.He} found {f} {s1} and brought {f.him} home, where it was warm and dry.")
        s("They [drank hot milk|sat under one blanket] and listened. \"It sounds like a giant who is snoring,\" said {f}. Then even {h} had to laugh.", "\"How brave you are!\" said {f}.")
        s.qa("[How did {h.name} help {f.name}?|Where was {f.name}?]", "{h.name} found {f.name} {s1} and brought {f.him} home.")
    s.para()
    s.o(.5, "After that, nobody laughed at {h} again.", "The next day, everyone had heard the story. \"Three cheers for {h.name}!\" they shouted.")
    s.qa("[What was {h.name} afraid of?|What scared {h.name}?]", "{h.name} was afraid of {what}.")
    s.qa("[Who was {h.name}'s friend?|Who was {h.name}'s best friend?]", "{h.name}'s best friend was {f.name}, {f.a}.")
    s.moral("being brave means being afraid and going on anyway", "love is stronger than fear", "you can be afraid and brave at the same time", "courage grows when a friend needs you")


def sharing(s):
    """Someone keeps all for himself, loses by it, and learns to share."""
    h = s.hero(["kid", "animal", "fantasy", "adult"])
    f = s.friend("f", named=True)
    s.set(stuff=s.pick("apples", "berries", "cookies", "nuts", "plums", "pears", "cakes", "cherries", "pancakes", "carrots"), num=s.pick("ten", "twenty", "a hundred", "a whole basket of", "a big bag of", "a wagon full of"))
    s.intro()
    s("{oneday}, {h} [found|got|was given] {num} {stuff}.", "{oneday}, {h} came home with {num} {stuff}. \"Mine, all mine!\" {h.he} said.")
    s("They looked so good that {h.he} wanted to keep them all.", "{H} had never seen so many {stuff}. {h.He} [hid them|put them all] {s1}, where no one could see them.")
    s.para()
    s("Soon {f.name}, {f.a}, came by. \"Those {stuff} smell wonderful,\" said {f}. \"May I have one?\" \"No,\" said {h}. \"They are mine.\"",
      "{f.nk} came by. {F} had not eaten all day. \"Could you [give me|share] a few {stuff}?\" {f.he} asked. \"I have none to give,\" said {h}, and that was not true.")
    s("{F} went away with {f.his} head down.", "{F} said nothing and went away hungry.", "\"All right,\" said {f} sadly, and went home.")
    s.para()
    end = s.pick("ache", "rot", "mud", "alone")
    if end == "ache":
        s("{H} sat down and ate and ate. {h.He} ate until {h.his} belly hurt. \"Oh, my belly!\" {h.he} groaned.", "All alone, {h} ate one after the other. Then {h.his} belly began to ache, and {h.he} had to lie down.")
        s("Who came to [look after {h.him}|bring {h.him} tea]? It was {f}! \"I heard you groaning,\" said {f}. \"Here, drink this warm tea.\"")
        s.qa("[What happened to {h.name}?|Why did {h.name}'s belly hurt?]", "{h.name} ate too many {stuff} and {h.his} belly hurt.")
    elif end == "rot":
        s("Days went by. {H} ate some of the {stuff}, but there were too many. When {h.he} looked again, the rest had gone bad.", "But no one can eat so many {stuff} alone. After a week, most of them had turned brown and soft.")
        s("\"What a waste!\" thought {h}. \"{f.name} was hungry, and I let them spoil.\"")
        s.qa("[What happened to the {stuff}?]", "There were too many, and most of them went bad.")
    elif end == "mud":
        s("{H} wanted to carry all of the {stuff} home at once. But the load was too heavy. {h.He} stumbled, and everything rolled into [the mud|a ditch|{p.water}].".replace("{p.water}", "the water"))
        s("{H} tried to pick them up, but it was too much work for one. Then someone began to help without a word. It was {f}.")
        s.qa("[What happened to the {stuff}?]", "{h.name} stumbled, and they all fell down.")
    else:
        s("{H} sat alone with the {stuff}. Outside, the others were [laughing|playing|singing]. Somehow, the {stuff} did not taste good at all.", "{H} took a bite, but it did not taste as good as {h.he} had thought. It is no fun to eat alone.")
        s.qa("[How did {h.name} feel?|Why was {h.name} unhappy?]", "{h.name} felt lonely, because it is no fun to eat alone.")
    s("{H} felt ashamed.", "Then {h} felt sorry for what {h.he} had said.", "{H} looked down at {h.his} {h.hands}.")
    s.para()
    s("\"I am sorry, {f.name},\" said {h}. \"I was greedy. Please take [half of what I have left|as many as you like].\"", "{H} ran to {f}'s house with [a full basket|the best {stuff} {h.he} had left]. \"I am sorry,\" {h.he} said. \"These are for you.\"")
    s("{F} smiled. \"Let us eat them together,\" {f.he} said.", "\"Thank you,\" said {f}. \"Now we can both be full.\"", "So they sat down and shared, and it was the best meal {h} had ever had.")
    s.o(.5, "Together they [baked a big pie|made a pot of jam|called all the neighbors], and everyone got some.")
    s.qa("[What did {h.name} not want to share?|What did {h.name} have?|What did {h.name} find?]", "{h.name} had {num} {stuff}.")
    s.qa("[Who wanted some {stuff}?|Who was hungry?]", "{f.nk} asked for some {stuff}.")
    s.moral("sharing makes everything taste better", "what we share, we enjoy twice", "it is better to share than to have it all", "a friend is worth more than {num} {stuff}")


def honesty(s):
    """Something is broken; a lie weighs; the truth mends."""
    h = s.hero(["kid", "animal", "fantasy"])
    owner = s.pick("mother", "grandmother", "grandfather", "teacher", "father", "aunt", "neighbor")
    female = owner in ("mother", "grandmother", "aunt") or (owner in ("teacher", "neighbor") and s.rng.random() < .5)
    s.set(owner=owner, own=f"{h.his} {owner}", ohe="she" if female else "he", ohis="her" if female else "his", ohim="her" if female else "him",
          item=s.pick("blue vase", "best teapot", "clay bowl", "glass lamp", "painted plate", "old clock", "big mirror", "flower pot", "honey jar", "wooden chair"),
          blame=s.pick("the wind", "the cat", "a bird", "a mouse", "a stranger"))
    s.intro()
    s("{oneday}, {h} was playing [in the house|near the house|indoors], although {own} had said, \"Be careful.\"", "{oneday}, it was raining, so {h} played indoors. {h.He} jumped and danced and spun around.", "{oneday}, {h} wanted to see {own}'s {item} up close.")
    s("Suddenly, [crash!|bang!|there was a loud crash.] {own}'s {item} fell down and broke.", "Oh no! {h.He} bumped against the {item}. It fell to the floor and broke into [three|many|a hundred] pieces.")
    s.feel(h, "afraid")
    s.para()
    s("Quickly, {h} hid the pieces [under the bed|behind a curtain|in an old box|under some leaves].", "{H} pushed the pieces into a corner and covered them with a cloth.")
    s("When {own} came home, {ohe} asked, \"Where is my {item}?\" \"{blame} broke it,\" said {h}, but {h.he} could not look {ohim} in the eyes.".replace("\"{blame}", "\"{Blame}"), "\"Do you know what happened to my {item}?\" asked {own}. \"I do not know,\" said {h} [quietly|very quickly]. \"Maybe it was {blame}.\"")
    s.para()
    s("That night, {h} could not sleep. The lie felt like a stone in {h.his} belly.", "All day, {h} felt [strange|sick|unhappy]. Even {h.his} favorite food, {food}, did not taste good.", "{H} tried to play, but the lie followed {h.him} like a shadow.")
    s.o(.6, "\"If I tell the truth, {ohe} will be angry,\" {h.he} thought. \"But if I do not, I will never feel good again.\"", "{h.He} thought about it again and again.")
    s("At last, {h} {h.went} to {own}. \"I broke your {item},\" {h.he} said [with tears in {h.his} eyes|in a small voice]. \"And then I lied. I am so sorry.\"",
      "In the morning, {h} brought the pieces to {own}. \"It was not {blame}. It was me,\" {h.he} said. \"I am sorry.\"")
    s("{own} was quiet for a moment. Then {ohe} [took {h} in {ohis} arms|smiled|sat down next to {h}]. \"A {item} can be mended,\" {ohe} said. \"I am glad that you told me the truth.\"",
      "\"I am sad about the {item},\" said {own}, \"but I am proud of you. It takes courage to tell the truth.\"")
    s("Together they glued the pieces. The {item} was not as pretty as before, but {own} [loved it even more|kept it in the best place in the house].", "That afternoon, they mended it together with glue and patience.", "They worked side by side until the {item} was whole again.")
    s.qa("[What did {h.name} break?|What broke?]", "{h.name} broke {own}'s {item}.")
    s.qa("[What did {h.name} say at first?|Who did {h.name} blame?|Did {h.name} lie?]", "At first, {h.name} lied and said that it was {blame}.")
    s.qa("Was {own} angry?", "No, {own} was glad that {h.name} told the truth.")
    s.para()
    s.feel(h, "glad")
    s.moral("the truth is lighter than a lie", "it is always better to tell the truth", "everyone makes mistakes, but honest ones can be mended", "telling the truth takes courage")


def building(s):
    """Making something fails twice for reasons and then works."""
    h = s.hero(["kid", "animal", "adult", "fantasy"])
    f = s.friend("f", named=True)
    item, why1, fix1, why2, fix2, use = s.pick(
        ("raft", "the logs came apart", "tied them with strong rope", "it tipped over to one side", "put a heavy log on each side", "sailed across the water"),
        ("treehouse", "the floor was crooked", "measured every board", "the roof let the rain in", "covered the roof with bark", "slept among the leaves"),
        ("kite", "the paper was too heavy", "took thinner paper", "it spun around and fell", "gave it a long tail", "flew it higher than the roofs"),
        ("bridge", "the branches were too short", "found a longer log", "it rolled when they stepped on it", "put stones on both sides", "crossed the stream with dry feet"),
        ("cart", "the wheels fell off", "made wooden pins for the wheels", "it would not turn", "put a rope on the front", "rolled down the hill and laughed"),
        ("snow house", "the walls fell in", "made bigger blocks", "the roof was too flat", "built the roof like a dome", "sat inside, warm and snug"),
        ("flying machine", "the wings were too small", "made the wings bigger", "it was too heavy", "left out everything that was not needed", "glided over the grass for a whole minute"),
        ("windmill", "the sails did not turn", "turned it to face the wind", "it fell over", "dug its foot into the ground", "ground flour for a cake"),
        ("boat", "water came in through the cracks", "filled the cracks with wax", "the mast broke", "took a stronger pole", "sailed all the way to the other side"))
    if item == "snow house" and s.v["p"].key != "snow": item, why1, fix1, why2, fix2, use = "raft", "the logs came apart", "tied them with strong rope", "it tipped over to one side", "put a heavy log on each side", "sailed across the water"
    s.set(item=item, why1=why1, fix1=fix1, why2=why2, fix2=fix2, use=use, laugh=s.pick("crow", "goose", "neighbor", "gray cat", "goat", "passing stranger"))
    s.intro()
    s("{h.name} had a big dream: {h.he} wanted to build a {item}.", "{oneday}, {h} had an idea. \"I will build a {item}!\" {h.he} said.", "More than anything, {h} wanted to have a {item}. So {h.he} decided to build one.")
    s("{h.He} gathered [wood, rope, and nails|everything {h.he} needed|all the things {h.he} could find] and began to work.", "All morning, {h.he} [worked|hammered and tied|cut and measured].")
    s.para()
    s("But the first {item} was no good: {why1}.", "When it was finished, {h} tried it out. [Oh dear!|Oh no!] {cwhy1}.".replace("{cwhy1}", cap(why1)))
    s.o(.7, "\"Ha, ha!\" laughed a {laugh}. \"You will never do it.\"", "{H} sat down and sighed. \"Maybe I should give up,\" {h.he} said.")
    s("{H} thought about it and {fix1}.", "\"I know what is wrong,\" said {h}, and {h.he} {fix1}.")
    s("The second {item} was better, but {why2}.", "Now it was better. But then {why2}.")
    s.feel(h, "sad")
    s.para()
    s("Then {f.name}, {f.a}, came by. \"[That is a fine {item}|What are you making]!\" said {f}. \"May I help?\"".replace("[That is a fine {item}|What are you making]!", "That will be a fine {item}!"), "{H} asked {h.his} friend {f.nk} for help. {F} walked around the {item} and looked at it from every side.")
    s("\"What if we try it another way?\" said {f}. Together they {fix2}.", "They put their heads together, and then they {fix2}.")
    s("And this time, it worked!", "They held their breath. It worked!", "The third time, everything was right.")
    s("That afternoon, they {use}.", "{H} and {f} {use}. What a day it was!")
    s.o(.5, "Even the {laugh} [clapped|said, \"Well done!\"|wanted to try it].")
    s.qa("[What did {h.name} build?|What did {h.name} want to build?|What did {h.name} make?]", "{h.name} built a {item}.")
    s.qa("[What went wrong at first?|Why did the first {item} not work?]", "The first time, {why1}.")
    s.qa("[Who helped {h.name}?]", "{f.nk} helped {h.him}.")
    s.feel(h, "proud")
    s.moral("every mistake teaches us something", "you should try again when something goes wrong", "two heads are better than one", "great things take time and patience")


def storm(s):
    """A storm takes a home; neighbors build a new one."""
    h = s.hero(["kid", "animal", "adult"])
    f = s.friend("f", named=True)
    k = s.friend("k", named=False)
    s.intro()
    s("{h.His} neighbor was {f.name}, {f.a}.", "Next door lived {f.a} named {f.name} who [was always grumpy|liked to sing|was very shy|never asked anyone for anything].")
    s.para()
    s("One night, a terrible storm came over {p.the}. The wind howled, and the rain beat down. [Trees bent like grass.|Nobody could sleep.|]", "In autumn, a great storm came. It roared all night long and shook every door.")
    s("In the morning, the sky was blue again. But {f}'s home was gone. Only a few [sticks|boards|stones] were left.", "When the sun rose, {h} went outside. {h.He} was lucky: {h.his} home was still there. But the storm had blown {f}'s home to pieces.")
    s("{F} sat in the middle of it all and [wept|cried|did not say a word].", "\"Where shall I go now?\" whispered {f}.")
    s.para()
    s("\"You can stay with me,\" said {h}. \"And then we will build you a new home.\"", "{H} [put an arm around {f}|sat down next to {f}]. \"Do not worry,\" {h.he} said. \"You are not alone.\"")
    s("{H} {h.went} from door to door and told everyone. [Soon they all came.|] {k.A} brought [wood|nails and rope|strong poles], and others brought [straw, blankets, and soup|moss and clay|boards and tools].",
      "{H} called all the neighbors together. \"Today it was {f.name},\" {h.he} said. \"Tomorrow it could be one of us.\" {k.A} was the first to come, and then came all the others.")
    s("They sawed and hammered, carried and tied. The little ones brought water, and the big ones lifted the roof.", "Some of them dug, some of them carried, and some of them cooked. By [evening|the third day], the walls were standing.")
    s("When it was done, the new home was [even better than the old one|strong and warm and dry], with [a round window|a blue door|a chimney made of stone].", "At sunset, the new home stood there, strong and beautiful.")
    s.para()
    s("{F} had tears in {f.his} eyes. \"I do not know how to thank you all,\" {f.he} said. \"[You already have|Just be our neighbor],\" said {h} and smiled.".replace("[You already have|Just be our neighbor]", "Just be our neighbor"), "\"This is the best home I have ever had,\" said {f}, \"because you all built it.\"")
    s("That night, they had a great feast with {food} and music.", "Then they lit a fire and danced until the stars came out.")
    s.qa("[What happened to {f.name}'s home?|What did the storm do?]", "The storm blew {f.name}'s home to pieces.")
    s.qa("[Who lost a home?|Whose home was gone?]", "{f.nk} lost {f.his} home.")
    s.qa("[What did the neighbors do?|How did {h.name} help?]", "They built a new home for {f.name}.")
    s.moral("many hands can build anything", "good neighbors are stronger than any storm", "when one is in need, all should help")


def quest(s):
    """A journey for a cure; kindness on the way is paid back."""
    h = s.hero(["kid", "animal", "fantasy"])
    who = s.pick("grandmother", "grandfather", "mother", "little sister", "little brother", "father")
    female = who in ("grandmother", "mother", "little sister")
    cure = s.pick("a moonflower", "golden honey", "a silver leaf", "water from the clear spring", "a red mountain berry", "a snow lily", "the blue herb")
    small = s.pick("beetle", "sparrow", "ant", "moth", "little fish", "bumblebee")
    s.set(who=who, ohe="she" if female else "he", ohim="her" if female else "him", cure=cure, cn=cure.split(" ", 1)[1] if cure.startswith(("a ", "the ")) else cure, small=small)
    k = s.friend("k", named=False, adj="wise")
    s.intro()
    s("{oneday}, {h.his} {who} fell ill. {ohe} lay in bed and [coughed|could not eat|was as hot as fire].".replace("{ohe}", "{Ohe}"), "{h.name} lived with {h.his} {who}. But that winter, {h.his} {who} became very sick.")
    s("\"Only {cure} can help,\" said {k.a}. \"It is found at {p.far}. But the way is long.\"", "{H} asked {k.a} for advice. \"There is one thing that helps,\" said {k}. \"You must find {cure}. It is at {p.far}.\"")
    s("\"Then I will go,\" said {h}. {h.He} packed some {food} and set out.", "\"I am not afraid,\" said {h}, and {h.he} left at once.")
    s.para()
    s("On the way, {h.he} [heard a tiny voice|saw something move]. A {small} was [caught in a spider's web|stuck in a drop of sap|lying on its back|trapped under a stone]. \"Please help me!\" it cried.".replace("a drop of sap", "some sticky sap"))
    s("{H} was in a hurry, but {h.he} stopped and [gently|carefully] set the {small} free. \"Thank you,\" said the {small}. \"One day, I will help you, too.\" {H} smiled, because it was so small.", "{H} bent down and freed the {small}. \"I will not forget this,\" said the {small}.")
    s.o(.8, "Farther on, {h} met a hungry traveler and gave away half of {h.his} {food}.", "{h.He} crossed {p.water}, climbed over rocks, and slept under the open sky.", "The way was long. {h.His} feet hurt, but {h.he} thought of {h.his} {who} and went on.")
    s.para()
    s("At last, {h} came to {p.far}. But there were two [doors|caves|paths], and {h.he} did not know which one to take.", "Finally, {h.he} reached {p.far}. There stood a great [stone gate|wall of thorns], and it was shut.", "At last, {h} arrived at {p.far}. But it was so dark there that {h.he} could not see {cure} anywhere.")
    s("Just then, something buzzed in {h.his} ear. It was the {small}! \"I am small, so I can [go everywhere|look through every crack],\" it said. \"Follow me.\"".replace("something buzzed in {h.his} ear", "{h.he} heard a tiny voice"), "\"Need some help?\" said a tiny voice. It was the {small} that {h} had saved. \"I know the way. Come!\"")
    s("The {small} led {h.him} straight to {cure}. [It shone in the dark.|It was more beautiful than anything {h} had ever seen.|] {H} took only as much as {h.he} needed and said thank you.", "And there, in a ray of light, {h} found {cure}.")
    s.para()
    s("{H} ran all the way home. {h.His} {who} [ate|drank|took] a little of it, [slept a long sleep|closed {ohis} eyes], and in the morning {ohe} was well again.".replace("[ate|drank|took] a little of it, [slept a long sleep|closed {ohis} eyes]", "took a little of it, slept a long sleep"), "Back home, {h} made a hot drink from {cure}. The next day, {h.his} {who} opened {ohis} eyes and smiled.".replace("{ohis}", "her" if female else "his"))
    s("\"You saved me,\" said {h.his} {who}. \"I had help,\" said {h}.", "\"My brave {h.name}!\" said {h.his} {who} and held {h.him} tight.")
    s.qa("[Who was sick?|Who fell ill?]", "{h.name}'s {who} was sick.")
    s.qa("[What did {h.name} need to find?|What was {h.name} looking for?]", "{h.name} was looking for {cure}.")
    s.qa("[Who helped {h.name}?|Who showed {h.name} the way?]", "A {small} that {h.name} had saved showed {h.him} the way.")
    s.moral("no act of kindness is ever too small", "those we help today may help us tomorrow", "even the smallest friend can be a great help", "love gives us strength for a long way")


def repaid(s):
    """The strong spares the small one; later the small one saves the strong."""
    h = s.hero(["animal", "fantasy", "adult"])
    small = s.pick("mouse", "ant", "sparrow", "mole", "squirrel", "beetle", "sparrow", "lizard")
    if small == h.kind: small = "beetle"
    s.set(small=small, sname=s.name("animal", False), trouble=s.pick("river", "hole", "mud"))
    s.v["h"].adj = s.pick("big", "proud", "strong", "grumpy", "lonely")
    s.intro()
    s("{h.He} thought that small creatures were of no use at all.", "{h.He} was [strong and proud|big and strong], and {h.he} did not care much for small things.", "Most of the little creatures were afraid of {h.him}.")
    s.para()
    s("{oneday}, a {small} named {sname} [ran over {h.his} foot|woke {h.him} from a nap|fell right onto {h.his} nose]. {H} caught the {small}. \"Please let me go,\" begged {sname}. \"One day, I will help you.\"",
      "{oneday}, {h} was about to step on a {small}. \"Stop, please!\" it cried. \"I am {sname}. If you spare me, I will help you one day.\"")
    s("{H} laughed. \"You? Help me? You are so tiny!\" But {h.he} had a good heart, and {h.he} let the {small} go.", "{H} had to laugh. \"How could someone so small help me?\" {h.he} said. But {h.he} let {sname} go.")
    s.para()
    t = s.v["trouble"]
    if t == "river":
        s("Some weeks later, {h} walked across {p.water} on thin ice, and the ice broke. {h.He} could not get out.".replace("walked across {p.water} on thin ice, and the ice broke", "fell into a deep pool, and the sides were wet and smooth") if s.v["p"].key != "snow" else "Some weeks later, {h} walked across {p.water}, and the ice broke. {h.He} could not get out.")
        s("{sname} heard {h.his} cries. The {small} called all of its friends. Together they [pushed a long branch|pulled a strong vine] to the water, and {h} climbed out.")
    elif t == "hole":
        s("Not long after that, {h} fell into a hunter's trap. A strong net held {h.him} fast. The more {h.he} pulled, the tighter it grew.", "One night, {h} stepped into a trap. A thick rope closed around {h.his} leg.")
        s("{H} called for help, but no one came. Then {h.he} heard a tiny voice. It was {sname}! The {small} [bit and bit|gnawed and gnawed] at the rope, thread by thread, until it broke. {H} was free.")
    else:
        s("Then came the rain. It rained for three days, and {h} got stuck in the deep mud. {h.He} could not move a step.", "One rainy day, {h} sank into the mud up to {h.his} belly. \"Help!\" {h.he} called.")
        s("{sname} came running. \"I am too small to pull you out,\" said the {small}, \"but I am small enough to [run|slip] through the bushes and get help.\" Soon {sname} came back with [ten strong friends|a long rope and many helpers], and they pulled {h} out.")
    s.para()
    s("\"You saved me,\" said {h}. \"I am sorry that I laughed at you.\" \"[Small friends can be great friends|I promised, did I not]?\" said {sname}.".replace("[Small friends can be great friends|I promised, did I not]?\" said {sname}", "I kept my promise,\" said {sname}"), "\"I was wrong,\" said {h}. \"You are small, but your heart is big.\"")
    s("From then on, the two were [the best of friends|always together].", "After that, {sname} often rode on {h.his} back, and they went everywhere together.")
    s.qa("[What kind of animal was {sname}?|Who was {sname}?]", "{sname} was a small {small}.")
    s.qa("[Who saved {h.name}?|Who helped {h.name}?|How was {h.name} saved?]", "{sname} the {small} saved {h.him}.")
    s.moral("even the smallest friend can be a great help", "kindness always comes back", "you should never laugh at someone for being small", "a small friend can be a big help")


def race(s):
    """A boaster and a quiet one in a contest."""
    h = s.hero(["kid", "animal", "fantasy"])
    f = s.friend("f", named=True)
    contest = s.pick("swimming race", "singing contest") if s.v["p"].key == "ocean" else s.pick("race", "swimming race", "baking contest", "singing contest", "boat race", "drawing contest")
    s.set(contest=contest, prize=s.pick("a golden cup", "a silver medal", "a huge cake", "a crown of flowers", "a shiny blue ribbon"))
    s.intro()
    s("Every year, there was a {contest} {p.path2}.".replace(" {p.path2}", " near {m1}"), "The great {contest} was coming, and everyone was excited.", "{oneday}, a sign was hung up at {m1}: \"Great {contest} on Sunday!\"")
    s("The winner would get {prize}.", "The prize was {prize}.")
    s("{f.name}, {f.a}, was sure to win. \"I am the best,\" {f.he} said. \"[Nobody can beat me|The rest of you can stay at home].\"", "\"I will win, as always,\" said {f.nk}, and laughed at {h}. \"You? You are much too slow!\"".replace("much too slow", "no match for me"))
    s("{H} said nothing. Every [morning|evening], {h.he} practiced, a little longer each day.", "{H} only smiled and went on practicing.")
    s.para()
    style = s.pick("steady", "help")
    s("Then the day came. [Flags waved|Drums rolled], and everybody cheered.", "On Sunday, a big crowd came to watch.")
    if contest in ("race", "swimming race", "boat race"):
        s("\"Ready, set, go!\" {F} was in front at once, and {h} was far behind.", "At first, {f} was far ahead.")
        if style == "steady":
            s("{F} looked back and laughed. \"I have so much time,\" {f.he} thought, and {f.he} stopped to [rest in the shade|eat a snack|wave to the crowd]. {H} went on and on, slow and steady.", "But {f} had started much too fast. Soon {f.he} was out of breath. {H} kept going at the same pace.")
            s("When {f} looked up again, {h} was already at the finish line. {H} had won!", "Near the end, {h} passed {f} and crossed the line first. What a cheer there was!")
            s.qa("[Who won?|Who won the {contest}?]", "{h.name} won the {contest}.")
        else:
            s("Halfway there, {h} was about to pass {f} when {f} fell. \"I am hurt!\" cried {f}.", "Then, close to the end, {f} slipped and could not get up again.")
            s("{H} could have won. But {h.he} stopped. \"Come, lean on me,\" {h.he} said. Together they went on, step by step, and came in last.")
            s("But the crowd cheered louder than ever. The judge gave {prize} to {h}. \"This is not for the fastest,\" he said, \"but for the kindest.\"", "{F} looked at {h}. \"You gave up {prize} for me,\" {f.he} said. \"I am sorry that I laughed at you.\" And {f.he} was {h.his} friend from then on.")
            s.qa("[What happened to {f.name}?|Why did {h.name} stop?]", "{f.name} fell, and {h.name} stopped to help {f.him}.")
    else:
        s("{F} had not practiced at all, because {f.he} was so sure. {f.His} work was quick and careless.".replace("{f.His} work", "What {f.he} showed"), "{F} was first. But {f.he} had been too lazy to practice, and everyone could see it.")
        s("Then it was {h}'s turn. {h.His} {h.hands} were trembling, but {h.he} remembered all of the practice, and {h.he} did {h.his} best.", "When {h} began, it grew quiet. Everybody watched with big eyes.")
        s("The judges did not have to think for long. \"The winner is {h.name}!\" they called.", "When it was over, the clapping would not stop. {H} had won!")
        s("{F} hung {f.his} head. But {h} went over to {f.him}. \"Let us practice together next year,\" {h.he} said.", "{H} shared {prize2} with {f}, and {f} was ashamed of {f.his} boasting.".replace("{prize2}", "the joy"))
        s.qa("[Who won?|Who won the {contest}?]", "{h.name} won the {contest}.")
    s.qa("[What was the prize?|What did the winner get?]", "The prize was {prize}.")
    s.qa("[What contest was it?|What kind of contest was it?]", "It was a {contest}.")
    s.para()
    if style == "help" and "race" in contest: s.moral("being kind is better than being first", "a friend is worth more than a prize")
    elif "race" in contest: s.moral("slow and steady often gets there first", "practice is better than boasting", "it is better to do than to boast")
    else: s.moral("practice is better than boasting", "it is better to do than to boast", "hard work is worth more than big words")


def newcomer(s):
    """A stranger is left out until someone is kind; then the odd gift of the stranger helps all."""
    h = s.hero(["kid", "animal"])
    kind = s.pick(*[k for k in ["porcupine", "bat", "toad", "skunk", "ostrich", "kangaroo", "anteater", "peacock", "flamingo", "robot", "giant", "dragon"] if k != h.kind])
    gift, trouble, deed = {
        "porcupine": ("sharp quills", "a wolf came to frighten the little ones", "stood in front of them and raised the quills"),
        "bat": ("big ears", "a thick fog came and two children could not find the way home", "listened in the dark and found them"),
        "toad": ("a very loud voice", "a fire broke out in the night", "croaked so loudly that everyone woke up in time"),
        "skunk": ("a terrible smell", "a hungry bear came to eat all the food", "chased the bear away with one puff"),
        "ostrich": ("very long legs", "a child fell ill far from the doctor", "ran faster than the wind to get the doctor"),
        "kangaroo": ("a big pouch", "the river rose and the babies had to be saved", "carried the babies to dry land, two at a time"),
        "anteater": ("a very long nose", "a ring fell into a deep crack", "reached in and pulled the ring out"),
        "peacock": ("bright, wide feathers", "a lost boat looked for the shore", "spread the feathers until the sailors could see them"),
        "flamingo": ("long pink legs", "a baby bird fell into the deep pond", "stepped into the water and lifted it out"),
        "robot": ("a lamp on its head", "all the lights went out in a storm", "lit up the way home for everyone"),
        "giant": ("big hands", "a rock rolled onto the road", "lifted the rock like a feather"),
        "dragon": ("hot breath", "the winter was so cold that the stove broke", "kept everyone warm all night"),
    }[kind]
    n = Who(s, "animal" if kind not in FANTASY else "fantasy", kind, None, not h.female, s.pick("shy", "strange", "quiet", "young"))
    n.name = s.name("animal", n.female)
    s.cast.append(n)
    s.set(n=n, gift=gift, trouble=trouble, deed=deed)
    s.intro()
    s.para()
    s("{oneday}, someone new came to {p.the}. It was {n.a} named {n.name}, who had {gift}.", "{oneday}, a newcomer moved in near {m1}. {n.His} name was {n.name}, and {n.he} was {n.a} with {gift}.")
    s("Nobody had ever seen a {n.kind} before. \"How strange!\" they whispered, and nobody wanted to play with {n.him}.", "\"Look at that!\" said the others. \"{n.He} is not like us.\" And they turned away.")
    s("{N} sat alone {s1} and [watched the others|looked at the ground|drew circles in the dust].")
    s.para()
    s("{H} [saw it and felt sorry|did not think that this was fair]. {h.He} {h.went} over. \"Hello, I am {h.name},\" {h.he} said. \"[Would you like to play|Do you like {food}]?\"", "\"That is not nice,\" thought {h}. So {h.he} took some {food} and sat down beside {n}. \"Would you like some?\" {h.he} asked.")
    s("{N} looked up and smiled for the first time.", "\"You are not afraid of me?\" asked {n}. \"Why should I be?\" said {h}.")
    s("Soon they were friends. {N} knew [wonderful stories|funny games|songs] from far away.", "They played together every day, and {h} learned many new games.")
    s.para()
    s("Then, one [day|night], {trouble}. Nobody knew what to do.", "Not long after that, {trouble}. Everyone cried for help.")
    s("But {n} did. With {n.his} {gift}, {n.he} {deed}.".replace("With {n.his} {gift}, {n.he}", "{n.He}"), "\"Let me try,\" said {n}. And {n.he} {deed}.")
    s("\"Hurray for {n.name}!\" they all shouted. \"We are sorry that we were so unkind.\"", "The others were ashamed. \"Please forgive us,\" they said. \"Will you play with us?\" \"Gladly,\" said {n}.")
    s("\"I am glad that you came here,\" said {h}. \"And I am glad that you said hello,\" said {n}.", "{H} was the proudest of all, because {n} was {h.his} friend.")
    s.qa("[Who was new?|Who came to {p.the}?|Who was the newcomer?]", "{n.name}, {n.a}, was new there.")
    s.qa("[What was special about {n.name}?|What did {n.name} have?]", "{n.name} had {gift}.")
    s.qa("[How did {n.name} help?|What did {n.name} do?]", "When {trouble}, {n.name} {deed}.")
    s.moral("what makes us different can make us special", "a friendly hello can change everything", "we should not judge others by how they look", "everyone has something to give")


def wish(s):
    """A wish goes wrong because it was greedy or careless."""
    h = s.hero(["kid", "animal", "adult", "fantasy"])
    s.set(giver=s.pick("a golden fish", "a tiny fairy", "an old lamp", "a talking frog", "a silver coin", "a shooting star", "a magic stone"))
    s.set(gn=s.v["giver"].split(" ", 1)[1])
    want, bad, undo = s.pick(
        ("that everything I touch turns into candy", "{h.his} bed, {h.his} shoes, and even the water turned into candy, and {h.his} friends stuck to the floor", "to hold a friend's hand again"),
        ("to be as big as a mountain", "{h.he} was so big that {h.he} could not go into {h.his} own home, and nobody could hear what {h.he} said", "to sit at the table with the others again"),
        ("that it is never night again", "the sun shone all the time, and nobody could sleep, and the flowers hung their heads", "to see the stars again"),
        ("to have all the gold in the world", "gold fell from the sky until it filled the house, and there was nothing left to eat", "to have a simple bowl of soup"),
        ("that no one ever tells me what to do", "nobody spoke to {h.him} anymore, not even to say good morning", "to hear a kind word again"),
        ("to be invisible", "no one could see {h.him}, and everyone bumped into {h.him} and forgot {h.him}", "to be seen by {h.his} friends again"),
        ("that it is my birthday every day", "there was cake every day until {h.he} could not look at cake, and soon nobody had any presents left", "to have a day like any other"),
        ("to fly higher than all the birds", "{h.he} flew so high that {h.he} was cold and alone among the clouds", "to feel the ground under {h.his} feet again"))
    s.set(want=want, bad=bad, undo=undo, want2=want.replace(" I ", " {h.he} ").replace(" me ", " {h.him} ").replace(" my ", " {h.his} "))
    s.intro()
    s("{h.He} often said, \"If only I had one wish!\"", "{h.He} was never quite content with what {h.he} had.", "{h.He} had all that {h.he} needed, but {h.he} always wanted more.")
    s.para()
    s("{oneday}, {h} found {giver} {s1}.", "{oneday}, near {m1}, {h} met {giver}.".replace("met", "came upon"))
    s("\"[You set me free|You found me], so you may have one wish,\" it said. \"But think well!\"", "And it could speak! \"I will grant you one wish,\" it said. \"Choose with care.\"")
    s("{H} did not think at all. \"I wish {want}!\" {h.he} cried.", "{H} [clapped {h.his} {h.hands}|jumped up and down]. \"I wish {want}!\"")
    s("[There was a flash of light|There was a puff of smoke|A warm wind blew], and the wish came true.", "No sooner had {h.he} said it than it came true.")
    s.para()
    s("At first, it was wonderful. {H} [danced and sang|laughed and laughed].", "\"Hurray!\" cried {h}. For a whole day, {h.he} was happy.")
    s("But soon {bad}.", "But then {h} saw what {h.he} had done: {bad}.")
    s.feel(h, "sad")
    s("\"What have I done?\" said {h}. All {h.he} wanted now was {undo}.", "Now {h} wanted only one thing: {undo}.")
    s.para()
    s("{H} ran back to the {gn}. \"Please take my wish back,\" {h.he} begged. \"I did not think.\"", "So {h} went to look for the {gn}. \"Please, please, make it the way it was,\" {h.he} said.")
    s("\"Have you learned something?\" asked the {gn}. \"Yes,\" said {h}. \"I had all I needed.\" And everything was as before.", "The {gn} [smiled|laughed softly]. \"I had hoped that you would say that,\" it said. And at once, everything was as it had been.")
    s("{H} went home, [hugged everyone|ate a bowl of {food}], and thought that it was the best day of {h.his} life.", "When {h.he} came home, {h.his} little home looked more beautiful than ever.")
    s.qa("[What did {h.name} wish for?|What was {h.name}'s wish?]", "{h.name} wished {want2}.")
    s.qa("[What did {h.name} find?|Who gave {h.name} a wish?]", "{giver} gave {h.him} one wish.")
    s.qa("[Did the wish make {h.name} happy?|What went wrong?]", "No, it went wrong, because {bad}." if False else "Only at first, because soon {bad}.")
    s.moral("you should think before you wish", "the best things are often the ones we already have", "more is not always better", "happiness is being content with what you have")


def seed(s):
    """A seed, patience, care, a harvest shared."""
    h = s.hero(["kid", "animal", "adult", "fantasy"], ["forest", "farm", "meadow", "village", "garden", "valley", "river", "town", "castle", "mountain"])
    plant, fruit, odd = s.pick(("sunflower", "seeds", "as tall as the house"), ("pumpkin", "soup for everyone", "as big as a wagon"), ("apple tree", "red apples", "full of white blossoms"),
                               ("bean", "beans", "up to the clouds"), ("rose", "red flowers", "sweeter than honey"), ("melon", "sweet melons", "as round as the moon"),
                               ("turnip", "stew for the whole village", "too heavy to pull out alone"), ("pear tree", "golden pears", "full of singing birds"), ("strawberry plant", "strawberries", "red all over"))
    f = s.friend("f", named=True)
    s.set(plant=plant, fruit=fruit, odd=odd, giver=s.pick("an old woman at the market", "a traveling bird", "{h.his} grandfather", "a kind stranger", "{h.his} grandmother"))
    s.intro()
    s("{oneday}, {giver} gave {h} a small brown seed. \"[Take good care of it|Be patient], and it will surprise you.\"".replace("surprise you.\"", "surprise you,\" {h.he} was told."), "{oneday}, {h} got a single seed from {giver}. It was no bigger than a [crumb|fly|fingernail].")
    s("{H} dug a hole {s1}, put the seed in, and covered it with soft earth.", "{H} planted it {s1} and gave it some water.")
    s.para()
    s("The next morning, {h.he} ran to look. Nothing. The day after that, nothing again.", "Every day, {h} went to look. One day passed, then two, then ten. Nothing happened.")
    s("\"Why does it not grow?\" asked {h}. \"Give it time,\" said {f.name}, {f.a}. \"Good things grow slowly.\"", "\"It is a bad seed,\" said {f.nk}. \"You are wasting your time.\" But {h} did not give up.")
    s("So {h} [sang to it|told it stories|pulled out the weeds] and watered it every day.", "{H} brought water every morning and kept the weeds away.")
    s.o(.7, "When it was hot, {h.he} gave it shade. When it was cold, {h.he} covered it with leaves.", "One night, there was a frost, and {h} laid {h.his} own blanket over the spot.", "When a hungry crow came, {h} chased it away.")
    s.para()
    s("Then, one morning, there was a tiny green leaf!", "And one day, after a soft rain, a little green tip came out of the ground.")
    s("It grew and grew. By the end of summer, it was a {plant}, {odd}!", "Week by week, it grew. In the end, it was the most beautiful {plant} that anyone had ever seen. It was {odd}.")
    s.feel(h, "proud")
    s("\"I would never have believed it,\" said {f}.", "Everybody came to look. \"How did you do it?\" they asked. \"With water and patience,\" said {h}.")
    s("There was {fruit}, and {h} shared it with all {h.his} friends.".replace("There was", "Soon there was") if fruit.startswith(("soup", "stew")) else "Soon there were {fruit}, and {h} shared them with everyone.")
    s.o(.6, "And {h} kept one small seed for the next spring.")
    s.qa("[What did {h.name} plant?|What did {h.name} grow?|What grew from the seed?]", "{h.name} planted a seed, and it became a {plant}.")
    s.qa("[Where did {h.name} plant the seed?]", "{h.name} planted it {s1}.")
    s.qa("[Who gave {h.name} the seed?|Where did the seed come from?]", "{h.name} got the seed from {giver}.")
    s.moral("good things need time", "patience makes small things grow", "you should not give up on something because it is slow", "with care and patience, a tiny seed can become a wonder")


def treasure(s):
    """A map, three clues, and a treasure that is not gold."""
    h = s.hero(["kid", "animal", "fantasy"])
    f = s.friend("f", named=True)
    s.set(chest=s.pick("an old wooden chest", "a rusty iron box", "a clay pot", "a chest with a golden lock"),
          inside=s.pick("a book full of stories", "seeds for a hundred flowers", "a music box that played a sweet tune", "a letter and a pair of old glasses", "two warm blankets and a lantern", "a mirror with the words 'Look, here is a true friend'", "a small box of gold coins"))
    s.intro()
    s("{h.His} best friend was {f.name}, {f.a}.", "{H} and {f.name}, {f.a}, were best friends.")
    s.para()
    s("{oneday}, {h} found an old map {s1}. There was a red cross on it!", "{oneday}, they found a bottle {s1}. Inside was a map with a big red X.", "{oneday}, a piece of paper flew into {h}'s face. It was a treasure map!")
    s("\"A treasure!\" [whispered|cried] {f}. \"Let us go and find it!\"", "\"Do you think that it is real?\" asked {f}. \"There is only one way to find out,\" said {h}.")
    s("\"Begin at {m1},\" said the map. \"Take twenty steps toward {m2}.\" So they did.", "First, the map led them to {m1}. From there, an arrow pointed toward {m2}.")
    s.para()
    s("But the way was not easy. [They had to cross {p.water}|A wall of thorns blocked the path|The path was steep and full of stones]. [\"We can do it,\" said {h}, and {h.he} went first.|{F} found a long branch, and they used it to get across.]")
    s.o(.8, "At {m2}, they found a riddle on a stone: \"What has [hands but cannot clap|teeth but cannot bite|a neck but no head]?\" They thought for a long time. \"[A clock|A comb|A bottle]!\"".replace("[hands but cannot clap|teeth but cannot bite|a neck but no head]", (rid := s.pick(("hands but cannot clap", "A clock"), ("teeth but cannot bite", "A comb"), ("a neck but no head", "A bottle")))[0]).replace("[A clock|A comb|A bottle]", rid[1]) + " cried {f}, and they went on.",
        "Once, they got lost and quarreled. \"You held the map upside down!\" said {f}. Then they both had to laugh.", "Clouds came, and it began to rain. They shared one big leaf as a roof and waited.")
    s("At last, they stood {s2}. \"Here it is!\" said {h}. They dug and dug, and then they hit something hard. It was {chest}!", "The cross was {s2}. {H} and {f} dug with all their strength until they found {chest}.")
    s.para()
    s("They opened it slowly. Inside, they found {inside}.", "With trembling {h.hands}, {h} opened it. It was not full of gold. Instead, they found {inside}." if not s.v["inside"].startswith("a small box") else "With trembling {h.hands}, {h} opened it. There was {inside}!")
    s("\"It belonged to someone who once lived here,\" said {h}. \"Now we will take care of it.\"", "\"It is the best treasure in the world,\" said {f}, \"because we found it together.\"", "They looked at each other and smiled.")
    s("They brought it home and showed it to everyone.", "On the way home, they told each other the story of the day again and again.", "They shared it with all of their friends.")
    s.qa("[What did {h.name} find at first?|What did {h.name} find {s1}?]" if False else "[What led them to the treasure?|How did they find the treasure?]", "They followed an old map.")
    s.qa("[What was the treasure?|What was inside?|What was in the chest?]", "Inside, they found {inside}.")
    s.qa("[Where was the treasure?|Where did they dig?]", "The treasure was {s2}.")
    s.qa("[Who was {h.name}'s friend?|Who went with {h.name}?]", "{f.nk} went with {h.him}.")
    s.moral("the best treasure is a good friend", "an adventure is best when it is shared", "not every treasure is made of gold", "the way can be more fun than the treasure")


def monster(s):
    """Everyone fears the monster; it only needs help."""
    h = s.hero(["kid", "animal", "adult"])
    kind = s.pick(*[k for k in ("dragon", "giant", "troll", "bear", "wolf", "ghost", "sea monster", "beast") if k != h.kind])
    n = Who(s, "fantasy", kind, None, not h.female, s.pick("huge", "terrible", "big", "mighty"))
    n.name = s.name("fantasy", n.female)
    s.cast.append(n)
    pain, fix = s.pick(("a thorn in its foot", "pulled out the thorn"), ("a terrible toothache", "tied a thread to the bad tooth and pulled it out"), ("a splinter in its tail", "pulled out the splinter"),
                       ("no friend in the whole world", "sat down and talked with it until morning"), ("a bone stuck in its throat", "reached in and took out the bone"), ("a bad cold", "cooked a pot of hot soup for it"))
    if kind == "ghost": pain, fix = "no friend in the whole world", "sat down and talked with it until morning"
    s.set(n=n, pain=pain, fix=fix, noise=s.pick("roared", "howled", "groaned", "wailed"), job=s.pick("carried heavy stones for the new bridge", "guarded the sheep at night", "gave the children rides", "kept the fire in the oven burning", "helped with the harvest", "told stories to the children"))
    s.intro()
    s("But everyone in {p.the2} was afraid, because a {n.kind} lived near {m1}.".replace("in {p.the2} ", ""), "Not far away, near {m1}, there lived {n.a}. No one dared to go there.")
    s("Every night, it {noise} so loudly that [the windows shook|nobody could sleep|the cups danced on the shelf].")
    s.para()
    s("\"We must chase it away,\" said some. \"We must hide,\" said others.", "The bravest ones went with sticks and torches, but they came running back.")
    s("But {h} listened. \"It does not sound angry,\" {h.he} said. \"It sounds sad.\"", "\"Has anyone ever asked what is wrong?\" said {h}. They all shook their heads.")
    s("So {h} {h.went} to {m1}, all alone. {h.His} heart beat fast.", "And so, early one morning, {h} set out for {m1} with a basket of {food}.")
    s.para()
    s("There lay the {n.kind}. It was as big as [a house|a hill|a barn]. \"[Go away|Who is there]!\" it growled.".replace("[Go away|Who is there]!", "Go away!"), "The {n.kind} opened one big eye. \"Are you not afraid of me?\" it asked.")
    s("\"I am a little afraid,\" said {h}. \"But I think that you need help. What is wrong?\"", "\"My name is {h.name},\" said {h} politely. \"Why do you cry every night?\"")
    s("A big tear rolled down its cheek. \"I have {pain2},\" said the {n.kind}, \"and nobody helps me. They all run away.\" Its name was {n.name}.".replace("{pain2}", pain.replace("its", "my")))
    s("{H} [came closer|took a deep breath] and {fix}.", "\"Hold still,\" said {h}. Then {h.he} {fix}.".replace("\"Hold still,\" said {h}. Then {h.he}", "\"Hold still,\" said {h}. Then {h.he}" if pain.startswith(("a thorn", "a splinter", "a bone", "a terrible")) else "\"I know what to do,\" said {h}. Then {h.he}"))
    s("\"Oh! It is gone!\" cried {n.name}. \"Thank you, little one.\"" if not pain.startswith(("no friend", "a bad")) else "\"I feel so much better,\" said {n.name}. \"Thank you, little one.\"")
    s.para()
    s("Together they went back. At first, everyone [hid|ran away]. But {h} called, \"Do not be afraid! This is my friend {n.name}.\"", "When the two came back side by side, nobody could believe it.")
    s("From then on, {n.name} {job}, and nobody was afraid anymore.", "Soon everyone loved {n.name}. The {n.kind} {job} and was never lonely again.")
    s.qa("[Who lived near {m1}?|Who was everyone afraid of?]", "Everyone was afraid of the {n.kind} near {m1}.")
    s.qa("[What was the {n.kind}'s name?]", "The {n.kind}'s name was {n.name}.")
    s.qa("[What was wrong with the {n.kind}?|Why was the {n.kind} so loud?|Why did the {n.kind} cry?]", "It had {pain}.")
    s.qa("[How did {h.name} help the {n.kind}?|What did {h.name} do?]", "{h.name} {fix}.")
    s.moral("we should listen before we judge", "someone who seems scary may only need a friend", "kindness is stronger than fear", "you should look twice before you are afraid")


def birthday(s):
    """Everyone seems to have forgotten."""
    h = s.hero(["kid", "animal", "fantasy", "adult"])
    f, k = s.friend("f", named=True), s.friend("k", named=True)
    t = Thing(s.rng)
    s.set(t=t)
    s.intro()
    s("Today was a special day: it was {h.his} birthday!", "{h.name} woke up early, because it was {h.his} birthday.", "The day {h} had waited for all year had come at last. It was {h.his} birthday!")
    s("{h.He} washed {h.his} face and {h.went} out to [see {h.his} friends|find {h.his} friends].", "\"I am sure that my friends have not forgotten,\" {h.he} thought.")
    s.para()
    s("First, {h} met {f.name}, {f.a}. \"Good morning! Do you know what day it is?\" asked {h}. \"It is [Monday|Tuesday|Friday|Saturday],\" said {f}. \"Sorry, I must hurry!\" And {f.he} was gone.",
      "At {m1}, {h.he} met {f.nk}. {F} was carrying a big [bag|basket]. \"I have no time,\" said {f} and hurried away.")
    s("Then {h} saw {k.name}, {k.a}. But {k} hid something behind {k.his} back and said only, \"Oh! Hello. Goodbye!\"", "Then {h.he} knocked on the door of {k.nk}. \"You cannot come in now!\" called {k} from inside.")
    s("Nobody wished {h.him} a happy birthday. {H} sat down {s1}. \"They have all forgotten me,\" {h.he} said.", "\"Nobody remembers,\" thought {h}, and a tear ran down {h.his} nose.")
    s.para()
    s("When the sun went down, {h} {h.went} home with slow steps. {h.He} opened the door. It was dark inside.", "In the evening, there was a note on the door: \"Please come to {m2}.\" {H} went there with a heavy heart.")
    s("\"Surprise!\" cried a hundred voices. [Lanterns were lit|Candles glowed], and there they all were!", "Suddenly, lights went on everywhere. \"Happy birthday, {h.name}!\" they all shouted.")
    s("{F} had baked a cake as high as a tower. {K} gave {h} {t.a}, wrapped in [leaves|blue paper|a ribbon].", "There was a big cake with {food} and candles. \"We have been working all day,\" laughed {f}. {K} held out a present. It was {t.a}!")
    s("\"I thought that you had forgotten me,\" said {h}. \"Never!\" said {f}. \"It was so hard to keep the secret!\"", "{H} did not know whether to laugh or to cry, so {h.he} did both.")
    s("They sang and danced [all night|until the moon was high].", "They ate and laughed until late at night.")
    s.qa("[Why was the day special?|What day was it?]", "It was {h.name}'s birthday.")
    s.qa("[What present did {h.name} get?|What did {h.name} get?]", "{h.name} got {t.a}.")
    s.qa("[Why was {h.name} sad?]", "{h.name} thought that everyone had forgotten {h.his} birthday.")
    s.qa("[Who baked the cake?|Who gave {h.name} a present?]" if False else "[Who were {h.name}'s friends?]", "{h.name}'s friends were {f.name} and {k.name}.")
    s.para()
    s.moral("true friends do not forget", "you should not be sad too soon", "good friends sometimes keep good secrets")


def fallen_star(s):
    """A small star falls down and must get home."""
    h = s.hero(["kid", "animal", "fantasy", "adult"])
    k = s.friend("k", named=False, adj="wise")
    s.set(what=s.pick("star", "star", "little moonbeam", "tiny cloud"))
    way = s.pick("kite", "hill", "birds", "song")
    s.intro()
    s("Every night, before {h.he} went to sleep, {h} [looked up at the sky|counted the stars|waved to the moon].", "{h.He} loved the night and all its lights.")
    s.para()
    s("One night, {h} saw something [fall|drop] from the sky. It landed {s1}. {H} ran to look. There lay a {what}, [small and pale|glowing softly|no bigger than an apple].",
      "One night, there was a soft knock at the window. Outside, {s1}, something was shining. It was a {what}!")
    s("\"I fell from the sky,\" it [sobbed|said]. \"I leaned too far down because I wanted to see [the flowers|your world|the sea]. Now I cannot get home.\"", "\"Please help me,\" it whispered. \"If I am not home before morning, my light will go out.\"")
    s("\"I will help you,\" said {h} and [took it in {h.his} {h.hands}|wrapped it in a scarf]. It was [warm|cool and soft] and as light as a feather.", "\"Do not be afraid,\" said {h}. \"We will find a way.\"")
    s.para()
    s("First, {h} threw it up as high as {h.he} could, but it fell down again.", "First, {h} climbed onto the roof and lifted it high above {h.his} head, but the sky was still too far away.")
    s("\"Let us ask someone,\" said {h}. So they went to {k.a}.", "Then {h} thought of {k.a} who lived near {m1} and knew many things.")
    if way == "kite":
        s("\"Tie it to a kite,\" said {k}, \"and let the wind do the rest.\" So {h} made the biggest kite {h.he} could and let it fly. Up it went, higher and higher, until the {what} could jump back into the sky.")
        s.set(how="They tied it to a big kite and let the wind carry it up.")
    elif way == "hill":
        s("\"Go to the highest hill,\" said {k}. \"There the sky comes down to touch the ground.\" {H} climbed all night long. On the top, the sky was so near that the {what} only had to take one small hop.")
        s.set(how="{h.name} carried it up the highest hill, and it hopped back.")
    elif way == "birds":
        s("\"Ask the wild geese,\" said {k}. \"They fly higher than anyone.\" {H} called the geese, and they came. The oldest one took the {what} on her back and flew up and up, until it was home.")
        s.set(how="The wild geese carried it up into the sky.")
    else:
        s("\"Such a one can rise only when it is happy,\" said {k}. So {h} sang it a song, and then another one. The {what} began to laugh. It grew lighter and lighter, and then it floated up, all the way home.")
        s.set(how="{h.name} sang until it was happy, and it floated up.")
    s.para()
    s("\"Thank you, {h.name}!\" called the {what} from far above. \"I will shine for you every night.\"", "{H} waved until {h.his} arms were tired. High above, something twinkled.".replace("arms were", "{h.hands} were"))
    s("And since then, when {h} looks up at night, there is one light that twinkles a little brighter than the rest.", "From that night on, one light above {p.the} was brighter than all the others, and {h} knew why.")
    s.qa("[What fell from the sky?|What did {h.name} find?]", "A {what} fell from the sky.")
    s.qa("[How did the {what} get home?|How did it get back?]", "{how}")
    s.qa("[Who told {h.name} what to do?|Who helped {h.name}?]", "{k.a} told {h.him} what to do.")


def skill(s):
    """Learning something hard; it is needed in the end."""
    h = s.hero(["kid", "animal", "fantasy"])
    what, fail, way, use = s.pick(
        ("swim", "swallowed a lot of water", "practiced in the shallow water every day", "swam out to bring back a little boat that had drifted away"),
        ("whistle", "got only a sad little puff of air", "practiced on every walk", "whistled so loudly that everyone found the way out of the fog"),
        ("play the flute", "made a noise like a sick goose", "played one note at a time", "played a tune so sweet that the crying baby fell asleep"),
        ("dance", "stepped on everyone's toes", "danced alone in the moonlight", "danced so well at the festival that everyone joined in"),
        ("read", "mixed up all the letters", "learned one letter every day", "read the warning on the old bridge and saved all of {h.his} friends"),
        ("climb", "slid down again and again", "climbed a little higher every day", "climbed up to save a kite from the highest branch"),
        ("sing", "sounded like a rusty door", "sang to the stones and the trees every morning", "sang in the dark until the lost children found the way home"),
        ("cook", "burned the soup three times", "cooked something small every evening", "cooked a great dinner when the cook was ill"),
        ("skate", "fell down at every step", "skated a little farther every day", "skated across the ice to bring medicine to a friend"),
        ("juggle", "dropped every ball", "practiced with one ball, then two, then three", "juggled to cheer up the saddest child in the hospital"))
    f = s.friend("f", named=True)
    s.set(what=what, fail=fail, way=way, use=use)
    s.intro()
    s("All of {h.his} friends could {what}. Only {h} could not.", "More than anything in the world, {h} wanted to {what}.", "{H} had one big wish: {h.he} wanted to learn to {what}.")
    s.para()
    s("{oneday}, {h} tried it. But {h.he} {fail}.", "The first time {h} tried, {h.he} {fail}. [Everyone laughed.|]")
    s("\"I will never learn it,\" said {h}, and {h.he} [kicked a stone|hid {h.his} face|wanted to go home].", "\"It is too hard for me,\" {h.he} said [sadly|with a sigh].")
    s("{f.name}, {f.a}, had seen it. \"Nobody can do it the first time,\" said {f}. \"I had to practice for a whole year.\"", "\"Do you want to know a secret?\" asked {f.nk}. \"I was even worse when I began.\"")
    s.para()
    s("So {h} {way}.", "From then on, {h} {way}. Some days were good, and some days were bad.")
    s.o(.7, "It was slow. But each time, it went a little better.", "\"Do not look at what you cannot do yet,\" said {f}. \"Look at what you could not do yesterday.\"", "When {h} wanted to stop, {f} said, \"Once more!\"")
    s("And then, one day, {h} could do it!", "Weeks went by. Then, one morning, it worked!")
    s.feel(h, "proud")
    s.para()
    s("Not long after, everyone was glad about it, because {h} {use}.", "And it was a good thing, too. That very week, {h} {use}.")
    s("\"How did you learn that?\" the others asked. \"Little by little,\" said {h}.", "\"I knew that you could do it,\" said {f}.")
    s.qa("[What did {h.name} want to learn?|What did {h.name} learn to do?]", "{h.name} wanted to learn to {what}.")
    s.qa("[What happened the first time?|Was it easy?]", "No, the first time {h.name} {fail}." if False else "The first time, {h.name} {fail}.")
    s.qa("[Who helped {h.name}?|Who told {h.name} to go on?]", "{f.nk} helped {h.him}.")
    s.moral("practice makes us better", "nobody is good at something the first time", "little by little, we can learn anything", "you can do hard things if you keep trying")


def stuck(s):
    """Something too heavy for one; everyone pulls, even the smallest."""
    h = s.hero(["kid", "animal", "adult"])
    s.set(load=s.pick("cart full of {stuff}", "wagon full of {stuff}", "sled full of {stuff}") if s.v["p"].key == "snow" else s.pick("cart full of {stuff}", "wagon full of {stuff}", "little boat full of {stuff}"),
          stuff=s.pick("apples", "hay", "firewood", "pumpkins", "blankets", "flour", "potatoes", "books", "presents"), place=s.pick("in the deep mud", "in a ditch", "between two stones", "in the soft ground"))
    folk = [k for k in s.v["p"].d["folk"].split() + ["rabbit", "goose", "dog"] if k != h.kind]
    a, b, c = s.rng.sample(sorted(set(folk)), 3)
    tiny = s.pick(*[x for x in ("mouse", "ladybug", "ant", "snail", "sparrow", "beetle") if x not in (a, b, c, h.kind)])
    s.set(a=a, b=b, c=c, tiny=tiny)
    s.intro()
    s("{oneday}, {h} was on the way to {m1} with a {load}.", "{oneday}, {h} had to bring a {load} to {m1}.")
    s("It had rained all night. Suddenly, there was a jerk, and everything stopped. The load was stuck {place}.", "But halfway there, it got stuck {place} and would not move.")
    s("{H} pulled and pushed, but it did not help.", "\"One, two, three!\" said {h} and pulled with all {h.his} strength. Nothing.")
    s.para()
    s("A {a} came along. \"Let me help,\" said the {a}. They pulled together, but the load did not move.", "\"Will you help me?\" {h} asked a {a}. The {a} pulled, and {h} pushed, but it was still stuck.")
    s("Then a {b} came and pulled with them. It moved a little, but not enough.", "Then a {b} came by. Now there were three of them. They pulled and pulled, but it was too heavy.")
    s.o(.7, "A {c} joined them, too. \"Heave ho!\" they called. Still it was stuck.", "Even a {c} helped. They were all out of breath.")
    s("At last, a tiny {tiny} came. \"Can I help?\" it asked. The others laughed. \"You? You are much too small!\"", "\"May I help, too?\" said a very small voice. It was a {tiny}. \"What could you do?\" asked the {a}.")
    s("\"Every little bit helps,\" said {h}. \"Come and stand next to me.\"", "\"Of course you may,\" said {h}. \"We need everyone.\"")
    s.para()
    s("\"One, two, three!\" They all pulled, the big ones and the little one. Plop! The load was free, and they all fell over and laughed.", "Once more they pulled, all of them together. There was a loud pop, and it was free!")
    s("\"You see?\" said the {tiny} [proudly|and took a bow]. \"You needed me, too.\"", "\"It was the {tiny} who did it!\" cried {h}. And the {tiny} blushed.")
    s("At {m1}, {h} thanked them all, and each of them got [a share|something warm to drink|a piece of cake].", "That evening, they all sat together and ate {food}.")
    s.qa("[What got stuck?|What was stuck?]", "A {load} got stuck.")
    s.qa("[Who was the smallest helper?|Who helped in the end?]", "The smallest helper was a {tiny}.")
    s.qa("[Who helped {h.name}?]", "A {a}, a {b}, and a tiny {tiny} helped {h.him}.")
    s.moral("every little bit helps", "together we are strong", "nobody is too small to help")


def mystery(s):
    """Something disappears night by night; tracks lead to someone hungry."""
    h = s.hero(["kid", "animal", "adult", "fantasy"])
    f = s.friend("f", named=True)
    thing, many = s.pick(("pie", "pies"), ("loaf of bread", "loaves"), ("honey pot", "honey pots"), ("cookie", "cookies"), ("egg", "eggs"), ("cheese", "cheeses"), ("carrot", "carrots"), ("apple", "apples"))
    who = s.pick(*[k for k in ("raccoon", "fox", "hedgehog", "kitten", "badger", "mouse", "crow", "puppy", "bear cub") if k not in (h.kind, f.kind)])
    s.set(thing=thing, many=many, who=who, clue=s.pick("small footprints in the flour", "a trail of crumbs", "tiny muddy tracks", "a tuft of fur on a nail", "a line of little tracks in the dust"), wname=s.name("animal", False))
    s.intro()
    s("Every evening, {h} put {many} [on the windowsill|on the table|in the pantry]. And every morning, one {thing} was gone.", "{oneday}, {h} counted {h.his} {many}. \"One is missing!\" {h.he} cried. The next day, another {thing} was gone.")
    s("\"Who could it be?\" asked {h}. \"This is a mystery,\" said {h.his} friend {f.name}, {f.a}. \"Let us solve it!\"", "{H} told {h.his} friend {f.nk} about it. \"We need clues,\" said {f}.")
    s.para()
    s("They looked around carefully. Then {f} found {clue}.", "\"Look here!\" said {h}. On the ground, there was {clue}." if not s.v["clue"].startswith(("small", "tiny")) else "\"Look here!\" said {h}. On the ground, there were {clue}.")
    s("They followed {p.path}, past {m1}, and came to a place {s1}.".replace("They followed {p.path}", "They went {p.path}"), "The tracks led past {m1} and ended {s1}.")
    s.o(.6, "\"Shh,\" whispered {f}. \"I hear something.\"", "{F} tiptoed in front, and {h} tiptoed behind.")
    s("There sat a thin little {who} with the last crumbs of the {thing}. It [trembled|looked at them with big eyes].", "There they saw a small {who}. It was holding a piece of the {thing} and shaking with fear.")
    s.para()
    s("\"So it was you!\" said {f}. \"Why did you steal?\" The {who} began to cry. \"I was so hungry,\" it said. \"And I did not dare to ask.\"", "\"Please do not be angry,\" said the {who}. \"My name is {wname}. I have [no home|three little brothers who are hungry|not eaten for days].\"")
    s("{H} was not angry anymore. \"You should have asked,\" {h.he} said. \"Nobody needs to be hungry here.\"", "{H} and {f} looked at each other. \"Next time, just knock on the door,\" said {h}.")
    s("So the {who} came home with them and got a big, warm meal. To say thank you, it [swept the floor|chopped the wood|watched over the house] every day.".replace("chopped the wood", "picked the weeds"), "After that, the {who} helped {h} every morning, and each evening there was a {thing} for three.")
    s.qa("[What was missing?|What was stolen?|What disappeared?]", "Every night, a {thing} disappeared.")
    s.qa("[Who took the {many}?|Who was the thief?|Who did it?]", "It was a hungry little {who}.")
    s.qa("[What clue did they find?|How did they find the thief?]", "They found {clue}.")
    s.qa("[Why did the {who} steal?]", "The {who} was hungry and did not dare to ask.")
    s.para()
    s.moral("it is better to ask than to take", "someone who does wrong may need help", "a kind word can turn a thief into a friend")


def light(s):
    """The light that guides others goes out, and it must be lit again in time."""
    h = s.hero(["kid", "adult", "animal"], ["sea", "island", "snow", "mountain", "river", "village", "castle"])
    sea = s.v["p"].key in ("sea", "island")
    k = s.friend("k", named=False)
    s.set(tower="lighthouse" if sea else s.pick("watchtower", "old tower"), lost="ship" if sea else s.pick("sled full of travelers", "group of travelers", "wagon with children"),
          danger="the rocks" if sea else s.pick("the deep gorge", "the cold night", "the thin ice") , keeper=s.pick("old keeper", "grandfather", "lighthouse keeper" if sea else "watchman"))
    s.intro()
    s("On the hill stood a {tower}. Every night, the {keeper} lit the great lamp, so that everyone could find the way home.", "{h.name} often visited the {tower}, where the {keeper} took care of the big light.")
    s.para()
    s("One night, there was a wild storm. {H} looked out of the window. The light was out!", "Then came a night of wind and rain. {H} looked up to the {tower}. It was dark!")
    s("And far out in the darkness, there was a {lost}. \"Without the light, they will [run into|not see] {danger}!\" {h.he} cried.".replace("[run into|not see]", "not see"), "{H} heard faint cries. A {lost} was out there, and it was heading straight for {danger}.")
    s("{H} ran {p.path}, through wind and rain, up to the {tower}.", "There was no time to lose. {H} [ran|hurried] up to the {tower} as fast as {h.he} could.")
    s("The {keeper} lay [on the stairs with a hurt leg|in bed with a fever]. \"The lamp,\" he groaned. \"I cannot climb the stairs.\" \"I will do it,\" said {h}.")
    s.para()
    s("Up and up went the stairs, a hundred steps and more. At the top, {h} tried to light the lamp, but [the matches were wet|the wind blew out every flame].", "{H} climbed all the steps. But the lamp [was empty|was cold], and the first match went out.".replace("[was empty|was cold]", "was cold"))
    s("{h.He} thought fast. {h.He} [shut the window with {h.his} coat|held up {h.his} hat against the wind] and tried again. A tiny flame flickered, and then the great light shone out into the night!".replace("{h.his} coat", "an old blanket").replace("{h.his} hat", "a board"), "\"I must not give up,\" {h.he} said. With the very last match, it worked. The light blazed up, bright and golden.")
    s("Far below, the {lost} turned away from {danger} just in time.", "Out in the dark, voices cheered. The {lost} had seen the light and turned around.")
    s("All night, {h} sat beside the lamp and kept it burning. {k.A} came and [brought hot soup|kept {h.him} company].", "{H} stayed awake until the sun came up.")
    s.para()
    s("In the morning, the travelers came to say thank you. \"You saved our lives,\" they said.", "The next day, everyone came to the {tower}. \"{h.name} saved us,\" said the travelers, and they cheered.")
    s("\"From now on, you are my helper,\" said the {keeper}, and he gave {h} a small key to the {tower}.", "The {keeper} smiled. \"One day,\" he said, \"this will be your light.\"")
    s.qa("[What went out?|What was the problem?]", "The light in the {tower} went out during a storm.")
    s.qa("[Who was in danger?|Who was saved?]", "A {lost} was in danger.")
    s.qa("[What did {h.name} do?|How did {h.name} help?|Who lit the lamp?]", "{h.name} climbed up to the lamp and lit it again.")
    s.moral("one small light can save many", "you should not give up while there is one match left", "even a small hero can do a great deed")


def object_cast(s):
    """A thing that lives, what it was made for, and a child."""
    r = s.rng
    noun, purpose, place = r.choice(OBJECT_HEROES)
    want = s.want or {}
    if r.random() < .45:
        noun = r.choice(OBJECT_NOUNS) if r.random() < .7 else nonsense(r)
        purpose = r.choice(["make someone happy", "make someone smile", "do something useful", "help someone"])
        place = r.choice(["in a dark corner", "on a dusty shelf", "at the bottom of a box", "behind an old door", "in a quiet attic", "at the end of a long road", "in a shop window"])
    for o in OBJECT_HEROES:
        if o[0] == want.get("kind"): noun, purpose, place = o
    h = Who(s, "fantasy", noun, None, None, s.pick("little", "old", "small", "lonely", "tiny", "red", "blue"))
    h.group = "object"
    h.name = s.name("fantasy", h.female)
    s.cast.append(h)
    child = Who(s, "kid", s.pick("boy", "girl"), None, not h.female)
    child.name = s.name("kid", child.female)
    s.cast.append(child)
    s.topic = noun
    s.set(h=h, c=child, purpose=purpose, place=place, weather=s.pick("rainy", "gray", "cold", "bright", "windy"), event=s.pick("a festival", "a birthday", "a big storm", "a long winter", "a special day"))
    s("Once upon a time, there was {h.a} named {h.name}. {h.name} lived {place}.", "Once upon a time, {place}, there was {h.a} named {h.name}.", "There once was {h.a}. {h.His} name was {h.name}, and {h.he} lived {place}.", "{h.name} was {h.a} who lived {place}.",
      "This is the story of {h.a} named {h.name}.", "Long ago, {place}, there was {h.a} called {h.name}.")
    return h, child


def object_hero(s):
    """A forgotten thing finds out that it is needed."""
    h, _ = object_cast(s)
    s("More than anything, {h} wanted to {purpose}.", "{H} knew that {h.he} had been made to {purpose}.", "In the old days, {h.he} used to {purpose} every day.")
    s("But nobody wanted {h.him} anymore. \"You are too [old|small|slow],\" the others said.", "But day after day, nobody came. [Dust settled on {h}.|]", "But there were bigger and newer ones, and everyone had forgotten {h}.")
    s("\"What am I good for?\" sighed {h}.", "{H} felt useless and sad.", "At night, {h} dreamed of being useful again.")
    s.para()
    s("Then, one {weather} day, everything changed.", "But one {weather} day, something happened.")
    s("A {c.kind} named {c.name} came in. {c.He} looked around. \"Everyone is waiting,\" {c.he} said, \"but who is going to {purpose}?\"", "{c.name}, a {c.adj} {c.kind}, came running. \"We need help!\" {c.he} cried. \"Is there no one here who can {purpose}?\"")
    s("\"I will! I can {purpose}!\" called {h}.", "\"Take me!\" said {h}. \"I was made to {purpose}.\"")
    s("{c.name} [looked surprised|smiled]. \"Well, let us try,\" {c.he} said, and [cleaned {h} with a soft cloth|brushed the dust from {h}|gave {h} a gentle pat].".replace("[cleaned {h} with a soft cloth|brushed the dust from {h}|gave {h} a gentle pat]", "gave {h} a gentle pat"))
    s.para()
    s("At first, {h} was nervous. [Everything was so fast and loud.|It had been such a long time.] But then {h.he} remembered how it was done.", "{H} trembled a little. \"What if I cannot do it?\" {h.he} thought. Then {h.he} did it, just like that!")
    s("{H} did it better than anyone had thought. Everybody [cheered|clapped|was amazed].", "All day long, {h} worked as well as {h.he} could, and everyone was thankful.")
    s("\"You are wonderful,\" said {c.name}. \"I will never forget you again.\"", "\"I do not need a new one,\" said {c.name}. \"I have {h.name}.\"")
    s("And from then on, {h} was never [lonely|forgotten] again.", "Since that day, {h} has been the happiest {h.kind} in the world.")
    s.qa("[What was {h.name}?|Who was {h.name}?]", "{h.name} was {h.a}.")
    s.qa("[What was the {h.kind}'s name?|What was the name of the {h.kind}?]", "The {h.kind}'s name was {h.name}.")
    s.qa("[What did {h.name} want?|What did {h.name} want to do?]", "{h.name} wanted to {purpose}.")
    s.qa("[Why was {h.name} sad?]", "Nobody wanted {h.him} anymore.")
    s.qa("[Who was the {c.kind}?|What was the {c.kind}'s name?]", "The {c.kind}'s name was {c.name}.")
    s.moral("everyone is good for something", "old things can still do good things", "your time will come if you wait for it")


def object_travel(s):
    """A thing goes out to see the world and finds the way back."""
    h, c = object_cast(s)
    a, b = s.rng.sample(["crow", "mouse", "cat", "frog", "hedgehog", "sparrow", "snail", "goat", "duck", "rabbit"], 2)
    s.set(a=a, b=b, sees=s.pick("a river as wide as a lake", "a field full of poppies", "a market with a hundred colors", "a mountain with a white hat", "a train that whistled", "a forest full of songs"))
    s("It was always the same there, day after day. \"I want to see the world,\" said {h}.", "{H} wondered what the world was like. \"There must be more than this,\" {h.he} said.", "One night, {h} had a dream of faraway places.")
    s.para()
    s("So, one {weather} morning, {h} set off all alone.", "The next day, when nobody was looking, {h} slipped away.", "One day, a strong wind blew, and it carried {h} far away.")
    s("First, {h.he} came to {sees}. \"How beautiful!\" {h.he} said.", "{H} went on and on, and then {h.he} saw {sees}.")
    s("There {h.he} met a {a}. \"[What are you doing here|Where are you going], little {h.kind}?\" asked the {a}. \"I am seeing the world,\" said {h} proudly.", "A {a} came by and stared. \"I have never seen {h.akind} out here,\" it said. \"Be careful!\"")
    s.para()
    s("But then it grew dark, and it began to rain. {H} was cold and did not know the way home.", "But when the night came, {h} felt very small. Which way was home? {h.He} had forgotten.", "Then {h} rolled into a ditch and could not get out again.")
    s("\"I wish I were at home,\" {h.he} whispered.", "\"Is anybody there?\" {h.he} called. No one answered.")
    s("At last, a {b} heard {h.him}. \"Do not cry,\" said the {b}. \"I know where you belong. I will take you there.\"", "Then a kind {b} found {h.him}. \"Someone is looking for you,\" said the {b}. \"Come with me.\"")
    s.para()
    s("When they arrived, {c.name} came running. {c.He} was a {c.kind} who had looked for {h} everywhere. \"There you are!\" {c.he} cried. \"I missed you so much!\"", "At home, a {c.kind} named {c.name} was waiting. \"I thought I had lost you,\" {c.he} said, and held {h} tight.")
    s("{H} told everyone about {sees}. But the best thing of all was to be home again.", "That night, {h} was back in the old place. How warm and good it was!")
    s.qa("[What was {h.name}?|Who was {h.name}?]", "{h.name} was {h.a}.")
    s.qa("[What did {h.name} see?]", "{h.name} saw {sees}.")
    s.qa("[Who helped {h.name}?|Who brought {h.name} home?]", "A {b} brought {h.him} home.")
    s.qa("[Who did {h.name} meet?]", "{h.name} met a {a} and a {b}.")
    s.qa("[Who was waiting for {h.name}?|Who missed {h.name}?]", "A {c.kind} named {c.name} was waiting.")
    s.moral("home is where someone is waiting for you", "the world is big and wonderful, but home is best", "it is good to go out and good to come back")


def winter_guest(s):
    """Someone knocks on a cold night; who gives shelter is given something back."""
    h = s.hero(["kid", "animal", "adult", "fantasy"], ["forest", "mountain", "snow", "farm", "village", "valley", "town", "river", "meadow"])
    k = s.friend("k", named=False, kind=s.pick(*[x for x in ("owl", "fox", "deer", "donkey", "sparrow", "hedgehog", "goose") if x != h.kind]), adj=s.pick("old", "tired", "cold", "thin"))
    s.set(gift=s.pick("a golden feather", "a small bell that rang when danger was near", "a bag of seeds", "a song that made everyone sleep well", "a lucky stone"))
    s.intro()
    s("One winter, it was colder than ever before. The snow lay as high as the windows, and food was [scarce|hard to find].".replace("[scarce|hard to find]", "hard to find"), "It was the coldest night of the year. {H} sat at home, warm and cozy, with a pot of soup.")
    s.para()
    s("Late at night, there was a knock at the door. Outside stood {k.a}, covered with snow. \"May I come in for a moment?\" asked {k}.", "Knock, knock! {H} opened the door. There stood {k.a}, shivering. \"I have lost my way,\" said {k}. \"Nobody else would let me in.\"")
    s.o(.7, "{H} had only a little food left. For a moment, {h.he} thought about it.", "\"There is not much room,\" thought {h}, \"but there is enough.\"")
    s("\"Come in, come in!\" said {h}. {h.He} put [a blanket|a warm shawl] around {k} and shared {h.his} last {food}.", "\"Of course,\" said {h}. \"Sit down by the fire.\" And {h.he} gave {k} half of {h.his} supper.")
    s("They told each other stories until the fire burned low.", "{K} ate, grew warm, and fell asleep. {H} slept on the floor, so that the guest could have the bed.")
    s.para()
    s("In the morning, the guest was gone. But on the table lay {gift}." if s.v["gift"][:6] != "a song" else "In the morning, before leaving, {k} taught {h} {gift}.", "The next morning, {k} said, \"You gave when you had little. Take this.\" It was {gift}.".replace("This", "this"))
    g = s.v["gift"]
    s({"a gold": "With it, {h} could buy enough food for the whole winter, and {h.he} shared it with everyone.", "a smal": "In spring, when the river rose at night, the bell rang and woke everyone in time.",
       "a bag ": "In spring, {h} planted them, and the most wonderful flowers and fruits grew from them.", "a song": "{H} sang it every night, and nobody who heard it ever had a bad dream again.", "a luck": "And it did bring luck: from that day on, there was always enough to eat in {h}'s home."}[g[:6]])
    s.o(.5, "Every winter after that, {k} came back for a visit.", "And every winter, {h} left a lamp in the window for anyone who was lost.")
    s.qa("[Who knocked at the door?|Who came to {h.name}'s home?|Who was the guest?]", "It was {k.a}.")
    s.qa("[What gift did {h.name} get?|What did the guest give {h.name}?]", "{h.name} got {gift}.")
    s.qa("[How did {h.name} help the guest?|What did {h.name} do?]", "{h.name} let {k} in and shared {h.his} food.")
    s.moral("there is always enough to share", "a warm welcome is never wasted", "those who give will be given to")


def quarrel(s):
    """Two friends fall out over something small."""
    h = s.hero(["kid", "animal", "fantasy"])
    f = s.friend("f", named=True)
    t = Thing(s.rng)
    s.set(t=t)
    cause = s.pick("thing", "game", "idea")
    s.intro()
    s("{h.His} best friend was {f.name}, {f.a}. They did everything together.", "{H} and {f.name}, {f.a}, had been friends for as long as they could remember.")
    s.para()
    if cause == "thing":
        s("{oneday}, they found {t.a} {s1}. \"I saw it first!\" said {h}. \"No, I did!\" said {f}. They both pulled at it.", "{oneday}, both of them wanted to play with {t.the}. \"It is mine!\" cried {h}. \"No, mine!\" cried {f}.")
        s.o(.6, "[Crack!|Rip!] {t.The} broke in two.".replace("[Crack!|Rip!] {t.The} broke in two.", "In the end, {t} fell down, and neither of them wanted to pick it up."))
        s.set(why="They quarreled about {t.a}.")
    elif cause == "game":
        s("{oneday}, they were playing hide-and-seek. \"You looked!\" said {h}. \"I did not!\" said {f}. \"You did!\"", "{oneday}, they played a game, and {f} won. \"You cheated!\" said {h}. \"I did not!\" said {f}.")
        s.set(why="They quarreled about a game.")
    else:
        s("{oneday}, {h} wanted to go to {m1}, but {f} wanted to go to {m2}. \"We always do what you want!\" said {f}. \"That is not true!\" said {h}.")
        s.set(why="{h.name} wanted to go to {m1}, and {f.name} wanted to go to {m2}.")
    s("\"I do not want to play with you anymore!\" said {h}. \"Good!\" said {f}. And they both went home.", "They turned their backs on each other and walked away in anger.")
    s.para()
    s("The next day, {h} played alone. But it was no fun at all. There was no one to [laugh with|share a secret with|run with].", "For three days, they did not say a word to each other. The days were long and gray.")
    s("{H} saw {f} sitting {s2}, all alone. {f.He} looked just as sad.", "At night, {h} lay awake and thought of all the fun they had had together.")
    s.o(.7, "\"Why did we quarrel?\" thought {h}. \"I can hardly remember.\"", "\"{f.name} is worth more to me than being right,\" thought {h}.")
    s("So {h} took {h.his} courage in both {h.hands} and {h.went} over to {f}. \"I am sorry,\" {h.he} said.", "In the morning, {h} took some {food} and {h.went} to {f}'s door. At the same moment, the door opened. \"I am sorry!\" they both said at once.")
    s.para()
    s("\"I am sorry, too,\" said {f}. \"I missed you.\" And they hugged each other.", "They looked at each other, and then they began to laugh.")
    s("From then on, they took turns.", "\"Today we do what you like,\" said {h}, \"and tomorrow what I like.\"", "That day, they played until the sun went down.")
    s.qa("[Why did they quarrel?|What did they fight about?|Why were they angry?]", "{why}")
    s.qa("[Who was {h.name}'s friend?|Who did {h.name} quarrel with?]", "{h.name}'s friend was {f.name}, {f.a}.")
    s.qa("[Who said sorry?|How did they make up?]", "{h.name} said sorry, and {f.name} said sorry, too.")
    s.moral("saying sorry makes a friendship stronger", "a friend is worth more than being right", "a small word like sorry can mend a big quarrel")


def warning(s):
    """Good advice is not heeded, and it goes wrong."""
    h = s.hero(["kid", "animal", "fantasy"])
    f = s.friend("f", named=False, adj=s.pick("old", "wise"))
    adv, deed, harm, rescue = s.pick(
        ("Do not go too far from home when the fog comes", "followed a bright butterfly far into the fog", "could not see the way back", "rang a bell until {h} could follow the sound home"),
        ("Do not walk on the thin ice", "walked out on the ice to slide", "heard the ice crack, and it broke", "held out a long branch and pulled {h} out"),
        ("Take your coat, for it will rain", "left the warm coat at home", "got wet to the skin and began to sneeze", "wrapped {h} in a blanket and made hot tea"),
        ("Do not eat the red berries near the gate", "ate a whole handful of the red berries", "got a terrible bellyache", "brought bitter herbs that made {h} well again"),
        ("Do not wake the bees", "poked the hive with a stick", "was chased by a cloud of angry bees", "called {h} into the pond, where the bees could not follow"),
        ("Look at the path and not at the clouds", "looked up at the clouds all the time", "fell into a deep hole", "let down a rope and pulled {h} up again"),
        ("Be home before the sun goes down", "went on playing until it was dark", "did not know the way anymore", "came with a lantern and brought {h} home"))
    s.set(adv=adv, deed=deed, harm=harm, rescue=rescue)
    s.intro()
    s("{H} did not like to listen to anybody. \"I know, I know,\" {h.he} always said.", "{H} was [clever|quick and lively], but {h.he} never listened.")
    s.para()
    s("{oneday}, {f.a} said to {h}, \"{adv}.\"", "\"{adv},\" {f.a} warned {h.him} {oneday}.".replace("{oneday}", "one day"))
    s("\"I know, I know,\" said {h}. But {h.he} did not listen.", "\"You worry too much,\" laughed {h}.", "{H} nodded, but {h.he} had already forgotten it.")
    s("That [very day|afternoon], {h} {deed}.", "And what did {h} do? {h.He} {deed}.")
    s.o(.5, "[\"What fun!\" {h.he} cried.|At first, everything was fine.]")
    s("But then {h.he} {harm}.", "Suddenly, {h.he} {harm}.")
    s.feel(h, "afraid")
    s("\"Help!\" cried {h}. \"Oh, if only I had listened!\"", "\"Is anybody there?\" called {h} in a small voice.")
    s.para()
    s("Luckily, {f} heard {h.him}. {F} {rescue}.", "{F} had been worried and had come to look. {F} {rescue}.")
    s("\"Thank you,\" said {h}. \"You told me, and I did not listen. I am sorry.\"", "{H} hung {h.his} head. \"You were right,\" {h.he} said.")
    s("\"I did not say it to spoil your fun,\" said {f}. \"I said it because I care about you.\"", "\"We all have to learn,\" said {f} and smiled.")
    s.qa("[What was the warning?|What did {f} say to {h.name}?|What was {h.name} told?]", "\"{adv}.\"")
    s.qa("[What did {h.name} do?|What did {h.name} do wrong?]", "{h.name} did not listen and {deed}.")
    s.qa("[Who saved {h.name}?|Who helped {h.name}?]", "{f} helped {h.him}.")
    s.qa("[What happened to {h.name}?]", "{h.name} {harm}.")
    s.moral("it is wise to listen to good advice", "good advice is a kind of gift", "a warning from a friend is worth hearing")


def bedtime(s):
    """Someone cannot sleep and learns how others do it."""
    h = s.hero(["kid", "animal", "fantasy"])
    a = s.friend("a", named=False)
    b = s.friend("b", named=False)
    s.set(way1=s.pick("I count the stars", "I curl up very small", "I listen to the wind", "I hang up my worries on a branch"), way2=s.pick("I hum a slow song", "I think of three good things that happened today", "I breathe in and out, very slowly", "I put my head under my blanket"))
    s.intro()
    s("One night, {h} could not fall asleep. {h.He} turned to the left and {h.he} turned to the right.", "It was late, and everyone was asleep. Only {h} was wide awake.")
    s("The moon looked in. \"It is no use,\" said {h} and got up.", "\"I am not tired at all,\" said {h}, and {h.he} [tiptoed|slipped] out into the night.")
    s.para()
    s("Outside, {h.he} met {a.a}. \"How do you fall asleep?\" asked {h}. \"{way1},\" said {a}.", "Near {m1}, there was {a.a}. \"What do you do when you cannot sleep?\" asked {h}. \"{way1},\" said {a} and yawned.")
    s("{H} tried it, but it did not help.", "{H} tried that, too, but {h.he} was still awake.")
    s("Then {h.he} met {b.a}. \"{way2},\" said {b}.", "A little later, {h.he} asked {b.a}. \"{way2},\" said {b} in a sleepy voice.")
    s("{H} tried it. That was [nice|better], but {h.his} eyes would not close.")
    s.para()
    s("At last, {h} {h.went} home. {h.His} mother was sitting by the window. \"Where have you been?\" she asked [softly|gently]. {H} told her everything.", "When {h.he} came back, {h.his} grandmother was waiting with a cup of warm milk.")
    who = "mother" if "mother was sitting" in self_last(s) else "grandmother"
    s.set(who=who)
    s("\"Shall I tell you a secret?\" said {h.his} {who}. \"Sleep is [shy|like a little bird]. It comes when you stop looking for it.\"", "{h.His} {who} sat down beside {h.him} and began to tell a story about a [star|boat|little cloud] that sailed across the sky.")
    s("She held {h.his} {h.hand} and hummed. {H} wanted to ask one more question, but {h.his} eyes were already closed.".replace("{h.hand}", "{h.hand}"), "And in the middle of the next sentence, {h} fell asleep.")
    s("Outside, the stars twinkled, and all was quiet. Good night, {h.name}.", "And {h} dreamed of [stars|faraway lands|{food}] until the morning.")
    s.qa("[Why did {h.name} get up?|What was the problem?|What was wrong with {h.name}?]", "{h.name} could not fall asleep.")
    s.qa("[Who did {h.name} meet?|Who did {h.name} ask?]", "{h.name} met {a.a} and {b.a}.")
    s.qa("[Who helped {h.name} fall asleep?|How did {h.name} fall asleep?]", "{h.His} {who} sat with {h.him} until {h.he} fell asleep.")


def self_last(s):
    return " ".join(s.paragraphs[-1])


def gift(s):
    """A contest of presents; the smallest one, from the heart, counts most."""
    h = s.hero(["kid", "animal", "adult"])
    ruler = s.pick("queen", "king", "old queen", "old king", "grandmother of {p.the}", "mayor")
    female = "queen" in ruler or "grandmother" in ruler
    if "king" in h.kind or "queen" in h.kind: ruler, female = "mayor", False
    s.set(ruler=ruler, ohe="she" if female else "he", ohis="her" if female else "his",
          small=s.pick("a single daisy", "a cup of warm tea", "a drawing", "a song", "a loaf of bread", "a smooth white stone", "a hand-knitted sock", "a jar of honey"),
          big1=s.pick("a golden chair", "a white horse", "a crown with a hundred jewels", "a clock as big as a house"), big2=s.pick("a coat of silk", "a silver ship", "a chest full of pearls", "a carpet from far away"))
    s.intro()
    s("{oneday}, the {ruler} [had a birthday|was turning seventy|was sad, and nobody could cheer {ohim} up].".replace("{ohim}", "her" if female else "him") + " \"Whoever brings the finest gift shall sit beside me at the feast,\" {ohe} said.".replace("{ohe}", "she" if female else "he"))
    s("Everyone ran to find something grand. But {h} was poor and had no money.", "The rich ones bought the most expensive things. {H} had only [two coins|empty pockets|what {h.he} could make {h.self}].")
    s("\"What can I give?\" thought {h}. {h.He} thought all night, and in the morning {h.he} had an idea.", "{H} sat down {s1} and thought. Then {h.he} smiled.")
    s.para()
    s("The great day came. Someone brought {big1}. Someone else brought {big2}. The {ruler} nodded politely, but {ohis} eyes were sad.", "One after the other, they put down their gifts: {big1}, then {big2}. \"Thank you,\" said the {ruler} each time and [yawned|sighed].")
    s("At the end of the line stood {h}. The others laughed, because {h.he} held only {small}." if s.v["small"] != "a song" else "At the end of the line stood {h} with empty {h.hands}. The others laughed. \"I have brought a song,\" said {h}.")
    s("\"Why do you bring me this?\" asked the {ruler}. \"Because [I heard that you are often alone|you look sad|you once smiled at me],\" said {h}, \"and I wanted to make you happy.\"", "\"It is not much,\" said {h} softly, \"but I [made|chose] it only for you.\"".replace("[made|chose] it", "thought of it"))
    s.para()
    s("For the first time in years, the {ruler} smiled. \"All the others gave what they had too much of,\" {ohe} said. \"You gave from your heart.\"", "The {ruler} was silent. Then {ohe} wiped away a tear. \"This is the finest gift of all,\" {ohe} said.")
    s("And {h} sat beside the {ruler} at the feast, and they [laughed and talked|ate {food}] until late at night.", "That evening, {h} had the best seat at the table.")
    s.o(.5, "After that, {h} came to visit every week, and the {ruler} was never lonely again.")
    s.qa("[What did {h.name} give?|What was {h.name}'s gift?|What gift did {h.name} bring?]", "{h.name} brought {small}.")
    s.qa("[Who got the gift?|Who was the gift for?]", "The gift was for the {ruler}.")
    s.qa("[Why did the {ruler} like it?|Why was it the finest gift?]", "Because {h.name} gave it from the heart.")
    s.moral("a gift from the heart is the greatest gift", "it is not the price that makes a gift great", "small gifts can bring great joy")


PLOTS = {f.__name__: f for f in (lost, foundling, fear, sharing, honesty, building, storm, quest, repaid, race, newcomer, wish, seed, treasure, monster, birthday,
                                 fallen_star, skill, stuck, mystery, light, object_hero, object_travel, winter_guest, quarrel, warning, bedtime, gift)}
PLOT_NAMES = list(PLOTS)
UNDER_WATER = ["sharing", "quarrel", "gift", "race", "lost"]  # no rain, carts or fires in these
# What a person may call such a story in a request.
TOPICS = {
    "lost": ["something lost", "a lost {t.n}", "finding something", "a lost treasure"], "foundling": ["a lost baby animal", "helping others", "kindness", "a lost {young}"],
    "fear": ["being brave", "courage", "being afraid of {what}", "someone who is afraid of {what}"], "sharing": ["sharing", "being greedy", "{stuff}", "learning to share"],
    "honesty": ["telling the truth", "honesty", "a lie", "a broken {item}"], "building": ["building a {item}", "trying again", "not giving up", "a {item}"],
    "storm": ["a storm", "good neighbors", "helping each other", "a new home"], "quest": ["a long journey", "a quest", "a magic cure", "kindness"],
    "repaid": ["an unlikely friendship", "small and big friends", "kindness"], "race": ["a {contest}", "a race", "winning and losing", "a contest"],
    "newcomer": ["a newcomer", "being different", "a new friend", "making friends"], "wish": ["a wish", "magic", "a wish that goes wrong", "{giver}"],
    "seed": ["a seed", "a garden", "patience", "a {plant}"], "treasure": ["a treasure", "a treasure map", "an adventure", "pirates and treasure"],
    "monster": ["a monster", "a scary {n.kind}", "a {n.kind}", "a lonely {n.kind}"], "birthday": ["a birthday", "a surprise party", "a birthday party", "a surprise"],
    "fallen_star": ["a star", "the night sky", "a fallen {what}", "the stars"], "skill": ["learning to {what}", "practice", "trying hard", "school"],
    "stuck": ["teamwork", "helping each other", "working together"], "mystery": ["a mystery", "a detective", "a thief", "a missing {thing}"],
    "light": ["a {tower}", "a storm at night", "a hero", "a brave hero"], "object_hero": ["a {h.kind}", "a forgotten {h.kind}"],
    "object_travel": ["a {h.kind}", "a long way home", "a {h.kind} who wants to see the world"],
    "winter_guest": ["winter", "snow", "a cold night", "a guest"], "quarrel": ["friendship", "two friends", "best friends", "saying sorry"],
    "warning": ["listening", "good advice", "not listening", "danger"], "bedtime": ["sleep", "going to bed", "the night", "the moon"], "gift": ["a gift", "a {ruler}", "a birthday gift", "love"],
}
# The same as "who ..." behind a hero.
CLAUSES = {
    "lost": ["who loses a {t.n}", "who has lost a {t.n}"], "foundling": ["who finds a lost {young}", "who helps a {young}"], "fear": ["who is afraid of {what}", "who is afraid of {what}"],
    "sharing": ["who does not want to share", "who learns to share"], "honesty": ["who breaks a {item}", "who tells a lie"], "building": ["who builds a {item}", "who wants to build a {item}"],
    "storm": ["who helps a neighbor", "and a storm"], "quest": ["who goes on a long journey", "who wants to help a sick {who}"], "repaid": ["who is saved by a {small}", "and a little {small}"],
    "race": ["who takes part in a {contest}", "who wants to win"], "newcomer": ["who finds a new friend", "who meets a {n.kind}"], "wish": ["who makes a wish", "who gets a wish"],
    "seed": ["who plants a seed", "who grows a {plant}"], "treasure": ["who finds a treasure", "who finds a map"], "monster": ["who meets a {n.kind}", "who helps a {n.kind}"],
    "birthday": ["who has a birthday", "who gets a surprise"], "fallen_star": ["who finds a {what}", "who helps a {what}"], "skill": ["who learns to {what}", "who wants to {what}"],
    "stuck": ["who needs help", "who gets stuck"], "mystery": ["who solves a mystery", "who looks for a thief"], "light": ["who saves a {lost}", "in a storm"],
    "object_hero": ["who wants to {purpose}", "that nobody wants"], "object_travel": ["who sees the world", "who gets lost"], "winter_guest": ["who helps a stranger", "in the winter"],
    "quarrel": ["who quarrels with a friend", "who says sorry"], "warning": ["who does not listen", "who gets into trouble"], "bedtime": ["who cannot sleep", "who does not want to sleep"], "gift": ["who is poor but kind", "who gives a gift"],
}
TITLES = {
    "lost": ["The Lost {t.n}", "{h.name} and the Lost {t.n}"], "foundling": ["The Little {young}", "{h.name} and the {young}"], "fear": ["{h.name} Is Afraid", "Brave {h.name}"],
    "sharing": ["{h.name} Learns to Share", "The {stuff}"], "honesty": ["The Broken {item}", "{h.name} Tells the Truth"], "building": ["{h.name} Builds a {item}", "The {item}"],
    "storm": ["The Great Storm", "A New Home for {f.name}"], "quest": ["{h.name} and the {small}", "The Long Way"], "repaid": ["{h.name} and the {small}", "A Small Friend"],
    "race": ["The Great {contest}", "{h.name} and the {contest}"], "newcomer": ["The New {n.kind}", "{h.name} Finds a Friend"], "wish": ["One Wish", "{h.name} and the Wish", "The {gn}"],
    "seed": ["The Little Seed", "{h.name} and the {plant}"], "treasure": ["The Old Map", "{h.name} and the Treasure"], "monster": ["The {n.kind} Who Cried", "{h.name} and the {n.kind}"],
    "birthday": ["{h.name}'s Birthday", "The Surprise"], "fallen_star": ["The Fallen {what}", "{h.name} and the {what}"], "skill": ["{h.name} Learns to {what}", "Little by Little"],
    "stuck": ["One, Two, Three", "{h.name} and the {tiny}"], "mystery": ["The Missing {thing}", "Who Took the {many}"], "light": ["The Light in the {tower}", "{h.name} and the {tower}"],
    "object_travel": ["{h.name} Sees the World", "The {h.kind} Who Came Home"], "object_hero": ["The {h.adj} {h.kind}", "{h.name} the {h.kind}"], "winter_guest": ["A Knock at the Door", "The Winter Guest"], "quarrel": ["{h.name} and {f.name}", "The Quarrel"],
    "warning": ["{h.name} Does Not Listen", "Good Advice"], "bedtime": ["Good Night, {h.name}", "{h.name} Cannot Sleep"], "gift": ["The Finest Gift", "{h.name} and the {ruler}"],
}


def title(s):
    """A title with capitals, as a book would print it."""
    small = {"and", "the", "of", "in", "a", "to", "at", "for", "by"}
    words = s.expand(s.rng.choice(TITLES[s.plot])).split()
    return " ".join(w if w in small and i else cap(w) for i, w in enumerate(words))


def story(rng, **kw):
    return Teller(rng, **kw)
