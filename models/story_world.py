"""The world that the stories happen in: names, creatures, places, things. Tables only, all written for this project."""

BOYS = """Tom Ben Sam Leo Max Jack Finn Oscar Hugo Theo Noah Eli Luke Owen Peter Henry Felix Arlo Jasper Milo Otto Anton Kofi
Ravi Omar Mateo Kenji Ivan Tariq Diego Emil Nils Pablo Amir Joon Simon Adam David Paul Jonas Rory Callum Idris Bruno Marco
Samir Tomas Victor Walter Arthur Edgar Ned Toby Will George Harry Charlie Daniel Jacob Levi Caleb Ezra Silas Rowan""".split()
GIRLS = """Lily Mia Anna Sara Ella Lucy Rose Nora Ivy Clara Zoe Ruby Maya Emma Ada Alice Daisy Hazel Luna Amira Priya Yuki
Leila Sofia Ingrid Freya Nina Tala Zara Elsa Marta Wren June Olive Greta Mei Aisha Lena Pearl Molly Grace Hannah Jane Kate
Lotte Maria Naomi Olga Penny Rosa Stella Thea Vera Winnie Eva Iris Flora Edith Beth Carmen Dina Elena Fatima""".split()
CRITTERS = """Pip Bramble Nutmeg Pepper Biscuit Clover Mossy Pebble Tumble Whiskers Rusty Button Thistle Poppy Willow Maple
Acorn Fern Dot Bibi Momo Rolo Fizz Juniper Tansy Barley Dusty Sprout Bubbles Snowy Shadow Ginger Cocoa Truffle Ziggy Nibbles
Patch Socks Marlow Chestnut Puddle Skip Teasel Wobble Figgy Plum Oakley
Mabel Hopper Flint Minty Crumb Berry Pickle Noodle Bean Peanut Marble Speck Tuft Cinder Robin Birdie Coco Wink Twig Bubble Pogo Kiki Dodo Fluff Nugget Scout Comet""".split()
FABLED = """Zog Glim Orla Flick Sparkle Grumble Bolt Rivet Cog Moss Fable Wisp Thorn Brindle Ashka Tink Blaze Drizzle Gizmo
Sprocket Mirabel Ozzy Quill Fennel Gristle Humble Tock Dazzle Smoky Rumble Starlet Twinkle Nimbus Copper Zephyr""".split()

# kind: (where it is at home, how it goes, what it has for hands, where it sleeps, what it likes to eat)
ANIMALS = {
    "fox": ("forest meadow farm snow", "trotted", "paws", "a cozy den under a hill", "berries plums"),
    "rabbit": ("forest meadow farm garden", "hopped", "paws", "a warm burrow under a hedge", "carrots clover lettuce"),
    "mouse": ("forest meadow farm garden town castle village", "scurried", "paws", "a snug hole in an old wall", "cheese crumbs seeds"),
    "bear": ("forest mountain snow river", "lumbered", "paws", "a big dark cave", "honey berries"),
    "squirrel": ("forest garden meadow", "scampered", "paws", "a hollow oak tree", "nuts acorns"),
    "hedgehog": ("forest garden meadow", "shuffled", "paws", "a pile of soft leaves", "apples mushrooms"),
    "owl": ("forest mountain farm", "flew", "wings", "a hole in a tall pine tree", "pie berries"),
    "frog": ("river garden meadow", "hopped", "legs", "a round green lily pad", "dumplings soup"),
    "duck": ("river farm meadow", "waddled", "wings", "a nest among the reeds", "bread corn"),
    "turtle": ("river sea island", "plodded", "feet", "a sunny bank of sand", "lettuce plums"),
    "cat": ("farm town village castle garden", "padded", "paws", "a basket by the stove", "cream cheese"),
    "dog": ("farm town village sea mountain", "trotted", "paws", "a wooden house with a red roof", "pies bones"),
    "puppy": ("farm town village", "bounded", "paws", "a soft blanket by the fire", "biscuits bones"),
    "kitten": ("farm town village castle", "padded", "paws", "a box full of warm wool", "cream cheese"),
    "pig": ("farm meadow", "trotted", "feet", "a tidy little barn", "apples corn turnips"),
    "lamb": ("farm meadow mountain valley", "skipped", "feet", "a barn full of sweet hay", "clover grass"),
    "goat": ("farm mountain valley", "climbed", "feet", "a small barn on the hill", "grass turnips"),
    "pony": ("farm meadow valley", "trotted", "legs", "a stable with a blue door", "apples carrots"),
    "hen": ("farm village", "strutted", "wings", "a neat little henhouse", "corn seeds"),
    "goose": ("farm river snow", "waddled", "wings", "a nest by the water", "bread corn"),
    "badger": ("forest meadow", "shuffled", "paws", "a deep burrow with many rooms", "mushrooms stew"),
    "mole": ("garden meadow forest", "crept", "paws", "a long tunnel under the ground", "carrots soup"),
    "beaver": ("river forest", "paddled", "paws", "a lodge made of sticks", "apples bark"),
    "otter": ("river sea", "slid", "paws", "a den on the river bank", "soup berries"),
    "deer": ("forest meadow snow", "leaped", "legs", "a quiet thicket of ferns", "clover apples"),
    "wolf": ("forest mountain snow", "loped", "paws", "a cave among the pines", "stew pies"),
    "raccoon": ("forest town river", "crept", "paws", "a hollow tree by the stream", "corn cookies"),
    "penguin": ("snow", "waddled", "flippers", "a ring of smooth stones", "soup pancakes"),
    "seal": ("snow sea", "slid", "flippers", "a flat gray rock by the water", "soup dumplings"),
    "crab": ("sea island", "scuttled", "claws", "a little cave in the sand", "crumbs soup"),
    "lion": ("jungle desert", "strode", "paws", "a shady cave", "stew melons"),
    "monkey": ("jungle island", "swung", "hands", "a nest of big leaves", "bananas nuts mangoes"),
    "elephant": ("jungle desert", "marched", "feet", "a clearing among tall trees", "bananas melons"),
    "parrot": ("jungle island", "flew", "wings", "a branch high above the ground", "nuts mangoes"),
    "tiger": ("jungle", "padded", "paws", "a cave behind a waterfall", "stew mangoes"),
    "camel": ("desert", "plodded", "feet", "a tent beside the palm trees", "dates figs"),
    "lizard": ("desert garden island", "darted", "feet", "a crack in a warm rock", "figs seeds"),
    "bee": ("garden meadow", "buzzed", "wings", "a golden hive", "honey"),
    "ant": ("garden meadow forest desert", "marched", "legs", "a busy hill of earth", "crumbs seeds"),
    "snail": ("garden meadow", "crept", "horns", "the shell on its back", "lettuce berries"),
    "ladybug": ("garden meadow", "crawled", "wings", "a curled green leaf", "honey dew"),
    "sparrow": ("town village farm garden", "flew", "wings", "a nest under the roof", "seeds crumbs"),
    "gull": ("sea island", "flew", "wings", "a nest on the cliff", "bread crumbs"),
    "crow": ("farm forest mountain", "flew", "wings", "a nest of sticks", "corn cheese"),
    "dinosaur": ("jungle valley island", "stomped", "feet", "a nest of leaves in a big cave", "ferns melons"),
    "panda": ("jungle forest mountain", "shuffled", "paws", "a green bamboo thicket", "bamboo dumplings"),
    "koala": ("jungle", "climbed", "paws", "the fork of an old tree", "leaves buns"),
    "kangaroo": ("desert meadow", "hopped", "paws", "a shady spot under a tree", "grass carrots"),
    "giraffe": ("jungle desert", "strode", "legs", "a place under the tallest tree", "leaves mangoes"),
    "zebra": ("desert meadow", "galloped", "legs", "a field of yellow grass", "grass melons"),
    "horse": ("farm meadow valley", "trotted", "legs", "a stable with a blue door", "apples oats"),
    "cow": ("farm valley meadow", "trotted", "legs", "a barn full of sweet hay", "grass clover"),
    "sheep": ("farm mountain valley", "trotted", "legs", "a fold behind the barn", "grass clover"),
    "bird": ("forest garden meadow", "flew", "wings", "a nest in a birch tree", "seeds berries"),
    "butterfly": ("garden meadow", "flew", "wings", "a bed of blue flowers", "nectar honey"),
    "spider": ("garden castle town", "crept", "legs", "a silver web in a corner", "crumbs soup"),
    "bat": ("forest castle mountain", "flew", "wings", "a beam under an old roof", "plums figs"),
    "fish": ("ocean", "swam", "fins", "a little cave in the reef", "seaweed crumbs"),
    "whale": ("ocean", "swam", "fins", "the wide blue water", "seaweed soup"),
    "dolphin": ("ocean", "swam", "fins", "a bay with clear water", "seaweed cakes"),
    "octopus": ("ocean", "swam", "arms", "a cave under a big rock", "seaweed dumplings"),
    "shark": ("ocean", "swam", "fins", "an old shipwreck", "seaweed stew"),
    "seahorse": ("ocean", "swam", "fins", "a forest of seaweed", "crumbs seaweed"),
    "starfish": ("ocean", "crept", "arms", "a flat gray rock", "crumbs seaweed"),
    "donkey": ("farm village desert valley mountain", "plodded", "feet", "a stable full of straw", "carrots turnips"),
}
FANTASY = {
    "dragon": ("mountain forest castle island valley", "flew", "claws", "a cave high in the rocks", "cakes peppers soup"),
    "fairy": ("forest garden meadow valley", "flew", "hands", "a house made of petals", "honey berries"),
    "robot": ("town village valley", "rolled", "hands", "a shed full of tools", "batteries oil"),
    "giant": ("mountain valley island forest", "stomped", "hands", "a house as tall as a hill", "bread stew pies"),
    "witch": ("forest mountain village", "flew", "hands", "a crooked house with a green roof", "soup pumpkins"),
    "wizard": ("mountain castle forest town", "hurried", "hands", "a tower full of books", "cheese cakes"),
    "ghost": ("castle town village", "floated", "hands", "an empty old attic", "marshmallows cakes"),
    "snowman": ("snow mountain", "slid", "hands", "a yard full of snow", "carrots snowflakes"),
    "unicorn": ("forest meadow valley", "galloped", "legs", "a meadow where no one ever came", "apples clover"),
    "troll": ("mountain river forest", "stomped", "hands", "a cave under a bridge", "stew turnips"),
    "gnome": ("garden forest meadow", "hurried", "hands", "a house inside a mushroom", "berries soup"),
    "mermaid": ("ocean", "swam", "hands", "a palace made of shells", "seaweed cakes"),
    "monster": ("mountain forest village castle", "stomped", "hands", "a cave behind the hills", "pancakes soup"),
    "alien": ("town village farm valley", "floated", "hands", "a round silver ship", "cookies batteries"),
    "elf": ("forest snow valley", "skipped", "hands", "a house in the roots of a tree", "nuts pancakes"),
}
ADULTS = {
    "baker": ("town village sea castle", "a little shop that smelled of bread"),
    "farmer": ("farm valley", "a white house beside the fields"),
    "fisherman": ("sea island river", "a blue hut by the water"),
    "knight": ("castle valley", "a small stone tower"),
    "miller": ("river farm village", "the old mill"),
    "gardener": ("garden castle town", "a cottage covered with roses"),
    "clockmaker": ("town village mountain", "a narrow house full of clocks"),
    "tailor": ("town village castle", "a shop with a round window"),
    "sailor": ("sea island", "a boat with white sails"),
    "shepherd": ("mountain valley farm", "a hut high on the hill"),
    "woodcutter": ("forest mountain snow", "a cabin built of logs"),
    "painter": ("town sea village", "a room with a very big window"),
    "shoemaker": ("town village", "a small shop on the corner"),
    "cook": ("castle town island", "a kitchen with a hundred pots"),
    "king": ("castle", "a castle with seven towers"),
    "queen": ("castle", "a castle with seven towers"),
    "toymaker": ("town village snow", "a workshop full of toys"),
    "pirate": ("sea island", "a ship with black sails"), "teacher": ("town village", "a room full of books above the school"),
    "doctor": ("town village valley", "a white house with a green door"), "firefighter": ("town", "a room above the fire station"),
    "astronaut": ("town", "a house with a telescope on the roof"), "explorer": ("jungle desert mountain island", "a tent full of maps"),
    "superhero": ("town", "a flat at the top of a tower"), "detective": ("town", "an office above the bakery"), "captain": ("sea island", "a ship with white sails"),
    "musician": ("town village castle", "a room full of music"), "postman": ("town village mountain", "a house next to the post office"),
    "beekeeper": ("garden meadow valley", "a yellow cottage"),
}
KIDS = {
    "boy": "sea farm mountain town village valley snow island garden river forest desert",
    "girl": "sea farm mountain town village valley snow island garden river forest desert",
    "prince": "castle", "princess": "castle",
}
# Things that come alive in a story of their own: noun, what it was made for, where it was kept.
OBJECT_HEROES = [
    ("teapot", "pour tea", "on a shelf in a kitchen"), ("train", "pull wagons", "in a quiet station"),
    ("boat", "carry people over the water", "in a small harbor"), ("cloud", "bring rain", "high in the blue sky"),
    ("star", "shine at night", "far up in the dark sky"), ("lamp", "give light", "in the corner of a dusty room"),
    ("clock", "tell the time", "on the wall of an old house"), ("shoe", "go for walks", "under a bed"),
    ("pencil", "draw pictures", "in a drawer of a desk"), ("spoon", "stir the soup", "in a kitchen drawer"),
    ("bell", "ring loudly", "at the top of an old tower"), ("broom", "sweep the floor", "behind a kitchen door"),
    ("tree", "give shade", "at the edge of a field"), ("bridge", "help people across the river", "over a small river"),
    ("umbrella", "keep people dry", "in a dark hall"), ("chair", "give people a rest", "in a little attic"),
    ("balloon", "float in the air", "in a toy shop"), ("bus", "take people to town", "at the end of a long road"),
    ("tractor", "plow the fields", "in a big red barn"), ("violin", "play music", "in the window of a shop"),
    ("lighthouse", "guide the ships", "on a rock by the sea"), ("candle", "light up the dark", "in a box in the cellar"),
    ("kettle", "boil the water", "on an old stove"), ("blanket", "keep someone warm", "at the bottom of a chest"),
    ("mirror", "show people their faces", "in a hall of an old house"), ("key", "open a door", "on a rusty hook"),
    ("spaceship", "fly to the stars", "in a big hall behind the town"), ("rocket", "fly to the moon", "in a field behind the school"),
    ("car", "drive along the road", "in a small garage"), ("truck", "carry heavy things", "in a yard behind the shop"),
    ("airplane", "fly above the clouds", "in a wide green field"), ("ship", "sail across the sea", "in a busy harbor"),
    ("book", "tell a story", "on the highest shelf of a library"), ("drum", "make music", "in a cold cellar"),
    ("pumpkin", "become a soup", "in a field behind the barn"), ("snowflake", "fall to the ground", "inside a big gray cloud"),
    ("leaf", "catch the sunlight", "at the top of a tall tree"), ("raindrop", "water the flowers", "inside a dark cloud"),
    ("button", "hold a coat together", "in a tin full of buttons"), ("wheel", "roll along the road", "behind an old barn"),
]

# Every setting: how to say it, where small things hide, places to go to, its water, what one sees there, who lives there.
SETTINGS = {
    "sea": dict(
        within=["in a small village by the sea", "in a little town beside the sea", "in a white house near the beach", "on a windy coast"],
        the="the village", path=["along the beach", "over the dunes", "along the shore"], water="the sea",
        spots=["under an old fishing boat", "behind the nets in the harbor", "in the tall grass on the dunes", "among the rocks on the beach", "beside the well in the square", "behind the bakery", "in a pool between the stones"],
        marks=["the lighthouse", "the harbor", "the old pier", "the big rock", "the cave below the cliff"],
        scenes=["The waves rolled softly onto the sand.", "Gulls cried above the harbor.", "The air smelled of salt.", "Small boats rocked up and down on the water.", "The sea was as blue as the sky."],
        folk="gull crab turtle seal dog fisherman sailor", far="a rocky island across the bay"),
    "forest": dict(
        within=["in a deep green forest", "in a quiet forest", "at the edge of a dark forest", "in the middle of an old forest", "in the woods"],
        the="the forest", path=["along the winding path", "between the tall trees", "through the ferns"], water="the stream",
        spots=["under the big oak tree", "behind a mossy rock", "inside a hollow log", "beside the little stream", "among the ferns", "under the blackberry bushes", "between the roots of an old pine"],
        marks=["the old oak tree", "the stone bridge", "the clearing", "the hollow hill", "the little waterfall"],
        scenes=["Sunlight fell through the leaves.", "The birds were singing in the branches.", "The moss was soft and cool.", "Somewhere a woodpecker was knocking.", "The trees whispered in the wind."],
        folk="owl deer hedgehog badger squirrel fox woodcutter", far="the dark side of the forest"),
    "farm": dict(
        within=["on a small farm", "on a busy farm", "on a farm at the end of a long road", "on a farm between two hills"],
        the="the farm", path=["across the yard", "along the fence", "through the field"], water="the pond",
        spots=["under the hay in the barn", "behind the red barn", "beside the pond", "inside the empty cart", "in the tall corn", "under the apple tree", "behind the henhouse"],
        marks=["the red barn", "the pond", "the old windmill", "the apple orchard", "the wooden gate"],
        scenes=["The rooster was crowing on the fence.", "The hay smelled sweet.", "The corn stood tall and yellow.", "Chickens were scratching in the yard.", "A warm wind blew over the fields."],
        folk="hen goose donkey goat pony dog farmer", far="the woods behind the last field"),
    "mountain": dict(
        within=["high in the mountains", "in a village on a mountain", "in a stone house on a mountain", "at the foot of a tall mountain"],
        the="the village", path=["up the steep path", "along the narrow path", "over the stones"], water="the lake",
        spots=["under a flat gray stone", "behind the last hut", "in the snow beside the path", "in a crack between two rocks", "among the little blue flowers", "beside the cold lake", "under a crooked pine"],
        marks=["the mountain lake", "the goat bridge", "the highest peak", "the old watchtower", "the cave with the echo"],
        scenes=["White clouds floated below the peaks.", "The air was cold and clear.", "Far below, the valley looked as small as a toy.", "An eagle circled in the sky.", "Bells rang from the goats on the hill."],
        folk="goat crow bear shepherd donkey wolf", far="the other side of the mountain"),
    "snow": dict(
        within=["in the far north, where the snow never melts", "in a land of snow and ice", "in a small village in the snow", "beside a frozen bay"],
        the="the village", path=["over the snow", "across the ice", "between the white hills"], water="the frozen lake",
        spots=["under a heap of snow", "behind a block of ice", "beside the hole in the ice", "under the old sled", "in a drift beside the path", "behind the woodpile", "among the icy stones"],
        marks=["the frozen lake", "the ice cave", "the snowy hill", "the red cabin", "the tall white pine"],
        scenes=["Snowflakes danced in the air.", "The ice sparkled like glass.", "Green lights moved across the sky.", "The snow creaked under every step.", "Everything was white and silent."],
        folk="penguin seal fox wolf goose woodcutter", far="the great white valley"),
    "meadow": dict(
        within=["in a wide green meadow", "in a meadow full of flowers", "at the edge of a sunny meadow", "on a hill covered with grass"],
        the="the meadow", path=["through the tall grass", "between the flowers", "down the hill"], water="the brook",
        spots=["under a dandelion", "in the tall grass", "behind a round white stone", "beside the brook", "among the poppies", "under the hedge", "next to the old fence post"],
        marks=["the brook", "the lonely tree", "the round hill", "the old stone wall", "the blackberry hedge"],
        scenes=["Bees hummed from flower to flower.", "The grass moved like waves in the wind.", "Butterflies danced in the sunshine.", "The clover smelled sweet.", "A lark was singing high above."],
        folk="rabbit mole bee ladybug snail deer pony", far="the far end of the meadow"),
    "river": dict(
        within=["beside a wide river", "on the bank of a quiet river", "near a pond full of lilies", "where the river bends"],
        the="the river", path=["along the bank", "through the reeds", "beside the water"], water="the river",
        spots=["among the reeds", "under the wooden bridge", "behind a wet stone", "in the mud by the bank", "between the lily pads", "under the roots of a willow", "inside an old basket"],
        marks=["the wooden bridge", "the old willow", "the mill", "the little island", "the waterfall"],
        scenes=["The water sparkled in the sun.", "Dragonflies darted over the reeds.", "The river sang its quiet song.", "Fish jumped and splashed.", "The willow dipped its branches in the water."],
        folk="frog duck otter beaver turtle goose miller", far="the place where the river meets the sea"),
    "jungle": dict(
        within=["in a warm green jungle", "deep in the jungle", "in the heart of a noisy jungle", "where the jungle meets a great river"],
        the="the jungle", path=["under the giant leaves", "between the vines", "along the muddy trail"], water="the river",
        spots=["under a giant leaf", "behind the banana tree", "among the vines", "in a hollow trunk", "beside the muddy river", "under a fallen branch", "between two big red flowers"],
        marks=["the waterfall", "the ruined temple", "the tallest tree", "the banana grove", "the rope bridge"],
        scenes=["Bright birds called from tree to tree.", "The air was warm and wet.", "Huge flowers opened in the sun.", "Monkeys chattered high above.", "Rain dripped from the leaves."],
        folk="monkey parrot elephant tiger lizard", far="the silent part of the jungle"),
    "desert": dict(
        within=["in a hot, wide desert", "beside an oasis in the desert", "in a village of tents in the desert", "where the sand meets the sky"],
        the="the oasis", path=["over the dunes", "across the hot sand", "in the shade of the rocks"], water="the oasis",
        spots=["under a palm tree", "behind a round red rock", "in the warm sand", "beside the well", "under an old carpet", "inside a clay jar", "between the thorny bushes"],
        marks=["the old well", "the red rocks", "the tallest dune", "the ruined wall", "the ring of palm trees"],
        scenes=["The sand glowed like gold.", "The sun burned in the sky.", "A warm wind drew lines in the sand.", "The stars shone brightly over the dunes.", "The palm trees rustled."],
        folk="camel lizard donkey lion", far="the valley of red stones"),
    "town": dict(
        within=["in a busy town", "in a town with crooked streets", "in a tall house in a big city", "in a narrow street in an old town"],
        the="the town", path=["down the street", "across the market", "along the canal"], water="the canal",
        spots=["under a bench in the park", "behind the fountain", "beside the market stalls", "on the steps of the library", "under the stone bridge", "behind the bakery", "between two flower pots"],
        marks=["the market", "the library", "the clock tower", "the park", "the train station"],
        scenes=["The bells of the clock tower rang.", "The market was full of voices.", "The smell of fresh bread filled the street.", "Pigeons strutted across the square.", "Lamps glowed in every window."],
        folk="cat sparrow dog raccoon baker tailor shoemaker", far="the last house at the end of town"),
    "village": dict(
        within=["in a small village", "in a quiet village", "in a village at the foot of a hill", "in a tiny village where everyone knew everyone"],
        the="the village", path=["down the lane", "across the square", "past the little houses"], water="the well",
        spots=["behind the old well", "under the bridge", "beside the church wall", "in the baker's garden", "under a bench in the square", "behind the school", "among the cabbages"],
        marks=["the square", "the old well", "the school", "the mill", "the hill with the three trees"],
        scenes=["Smoke rose from the chimneys.", "Children were laughing in the square.", "The church bell rang.", "Roses climbed over the garden walls.", "A dog was sleeping in the sun."],
        folk="cat dog sparrow hen donkey baker miller", far="the hill behind the village"),
    "castle": dict(
        within=["in a castle on a hill", "in a faraway kingdom", "in a kingdom by a silver lake", "in a great stone castle"],
        the="the castle", path=["through the long hall", "across the courtyard", "down the winding stairs"], water="the moat",
        spots=["under the long table", "behind a heavy curtain", "in the royal garden", "beside the well in the courtyard", "on the winding stairs", "behind an old suit of armor", "in the kitchen, behind the flour"],
        marks=["the highest tower", "the royal garden", "the great hall", "the stables", "the drawbridge"],
        scenes=["Flags fluttered on the towers.", "The courtyard was full of people.", "Music came from the great hall.", "The stone walls glowed in the evening sun.", "Swans swam in the moat."],
        folk="cat mouse crow cook gardener knight", far="the gray mountains behind the kingdom"),
    "garden": dict(
        within=["in a garden behind a yellow house", "in a big old garden", "in a garden full of vegetables", "in a wild garden behind a wall"],
        the="the garden", path=["between the cabbages", "along the garden wall", "under the bean leaves"], water="the pond",
        spots=["under a cabbage leaf", "behind the watering can", "among the strawberries", "under a flower pot", "beside the little pond", "in the wheelbarrow", "behind the sunflowers"],
        marks=["the pond", "the pear tree", "the garden shed", "the sunflower bed", "the old stone wall"],
        scenes=["The roses were in bloom.", "Dew shone on every leaf.", "The beans climbed toward the sun.", "The ground was soft and warm.", "The air smelled of mint."],
        folk="snail bee ladybug hedgehog mole sparrow gardener", far="the wild corner behind the wall"),
    "island": dict(
        within=["on a small green island", "on an island far out in the sea", "on a sunny island", "on an island shaped like a moon"],
        the="the island", path=["along the beach", "under the palm trees", "over the warm rocks"], water="the sea",
        spots=["under a palm tree", "inside a big shell", "behind a heap of driftwood", "in the white sand", "among the rocks", "under an old sail", "beside the spring"],
        marks=["the bay", "the palm grove", "the hill with the spring", "the sea cave", "the broken ship"],
        scenes=["The waves sang all day long.", "The sand was white and warm.", "Palm leaves swayed in the breeze.", "Dolphins jumped far out in the water.", "The sunset painted the sea red."],
        folk="crab parrot turtle gull monkey lizard sailor", far="the dark end of the island"),
    "valley": dict(
        within=["in a green valley", "in a valley between blue hills", "in a hidden valley", "in a cottage at the end of a valley"],
        the="the valley", path=["along the stony road", "between the hills", "through the fields"], water="the river",
        spots=["under the old bridge", "behind a heap of stones", "in the long grass", "beside the river", "under an apple tree", "inside a hollow stump", "beneath a hedge"],
        marks=["the old bridge", "the windmill", "the apple tree on the hill", "the river", "the stone gate"],
        scenes=["Mist lay over the fields.", "Sheep grazed on the hills.", "The river shone like silver.", "Apple trees were in bloom.", "A cool wind came down from the hills."],
        folk="goat donkey lamb pony shepherd farmer", far="the land behind the blue hills"),
}

SETTINGS["ocean"] = dict(
    within=["at the bottom of the sea", "in a bright coral reef", "deep in the blue ocean", "in a quiet corner of the ocean"],
    the="the reef", path=["through the seaweed", "along the reef", "through the clear water"], water="the deep water",
    spots=["under a red coral", "behind a big rock", "in the green seaweed", "inside an empty shell", "in an old shipwreck", "in the white sand", "under a flat stone"],
    marks=["the shipwreck", "the coral gate", "the seaweed forest", "the great rock", "the blue cave"],
    scenes=["Sunlight danced through the water.", "Bubbles rose like silver pearls.", "The corals glowed in every color.", "The seaweed swayed to and fro.", "Tiny fish flashed by."],
    folk="crab turtle octopus seahorse dolphin starfish whale", far="the dark trench")

# More nouns that may come alive, so that a story can be told about things the plots do not know.
OBJECT_NOUNS = """apple banana basket bathtub bed bench bicycle bottle bowl box brick brush bucket cake camera cap card carpet carrot castle chain cheese
cherry chimney coat coin comb computer cookie cup cupboard curtain cushion desk dice dish door doughnut dress duster envelope eraser fan fence flag flower
flute fork fountain fridge garden gate glass glove guitar hammer hat helmet hose house jacket jar jug kite ladder lemon letter lock magnet map marble
match medal mitten mop mountain muffin mug nail napkin needle nest newspaper notebook onion orange oven paintbrush pancake pan paper pear pebble pen
phone piano pillow pizza planet plate plum pocket pot potato puddle puppet puzzle radio rainbow refrigerator ribbon ring river road rock roof rope ruler
sack sail sandwich scarf scissor seed shell shelf shirt shovel sled slipper soap sock sofa spoon stamp stick stone stool stove straw suitcase swing
table tomato toothbrush tower toy trumpet tuba turnip vase wagon wall watch watermelon wheelbarrow whistle window yo-yo zipper moon sun wind sandcastle scooter
skateboard submarine helicopter tugboat windmill volcano island cactus mushroom acorn pinecone crayon balloon lollipop cupcake noodle pickle meatball
snowball teacup telescope typewriter accordion xylophone backpack lunchbox""".split()

# noun: (adjectives, what it is like). light things blow away, shiny ones tempt magpies, small ones fall through holes, round ones roll.
THINGS = {
    "kite": ("red blue yellow striped", "light"), "ball": ("red blue green striped bouncy", "round"),
    "hat": ("red blue green straw woolly", "light"), "scarf": ("red blue yellow long woolly", "light"),
    "music box": ("wooden old silver", "big"), "lantern": ("brass red old little", "big"),
    "bell": ("silver golden tiny", "shiny small"), "button": ("blue golden red pearl", "shiny small round"),
    "drum": ("red wooden little", "big"), "flute": ("wooden silver", "big"), "storybook": ("green old thick", "big"),
    "toy boat": ("wooden white red", "big"), "teddy bear": ("brown soft old", "big"), "doll": ("wooden little rag", "big"),
    "key": ("golden rusty tiny silver", "shiny small"), "ring": ("golden silver", "shiny small round"),
    "umbrella": ("yellow red striped", "light"), "blanket": ("blue soft green", "light"), "spoon": ("silver wooden golden", "shiny"),
    "coin": ("golden silver lucky", "shiny small round"), "basket": ("little brown", "big"), "watch": ("silver golden old", "shiny small"),
    "necklace": ("pearl golden silver", "shiny"), "whistle": ("tin wooden silver", "small shiny"), "map": ("old torn yellow", "light"),
    "wooden horse": ("little red painted", "big"), "marble": ("green blue glass", "small round shiny"), "feather": ("white blue golden", "light"),
    "mitten": ("red woolly green", "light"), "shell": ("pink white striped", "small"), "compass": ("brass golden old", "shiny small"),
    "crown": ("golden paper silver", "shiny"), "pebble": ("white smooth lucky", "small round"), "toy train": ("red wooden little", "big"),
    "ribbon": ("pink blue green silk", "light"), "paintbrush": ("old thin wooden", "small"), "star": ("paper golden wooden", "light"),
}
