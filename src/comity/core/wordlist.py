"""The 2 048 check words.

Chosen by tools/make_wordlist.py from the large word list for passphrases of the
Electronic Frontier Foundation, Creative Commons Attribution 3.0 US; shortened by selection only.
"""

WORDS: tuple[str, ...] = tuple(
    """
abacus abdomen abiding ability ablaze able abreast abridge abroad absence absolve abstain absurd
accent acclaim account acetone aching acid acorn acquire acre acrobat action actress acts acutely
aerosol afar affair affix afford affront afoot afraid aged ageless agent aghast agile aging agony
agreed ahead ahoy aide alarm album alfalfa algebra alias alibi aliens alike almanac almost aloe
aloft aloha aloof alright alto alumni always amaze amber ambush amends amiable amigo amiss ammonia
amnesty among amount ample amuck amulet amused anagram anatomy anchor ancient android anemia anew
anger angled angrily angular anime ankle annex annuity another antacid anthem antics antler antonym
antsy anvil anybody anyhow anymore anyone anytime anyway aorta apache apostle appear apply approve
april apron aqua area argue armband armed armful armhole arming armless armory army aroma arose
around array arrest arrive arson ascend ashamed ashen ashy askew asleep aspect aspire astound
astride astute atlas atom atrium attach attest attic audio august author autism avatar avenge avert
aviator await awaken award awhile awkward awning awoke awry axis babble babied baboon backer bacon
badass badge badly badness baffle bagel bagful baggy bagpipe baked baking balance balcony balmy
bamboo banana banish banjo banner banshee barbed barcode barista barley barman barn barrel bash
basil basket batboy batch bats battle bazooka blabber blade blah blaming blank blazer bleak bleep
blemish bless bling blip blitz bloated blob blooper blouse bluff blurb blush boaster boat bobbed
bobcat bobsled bobtail body bogged bogus boil bonanza bonding boned bonfire bonnet bonsai book boots
boozy borax boring borough boss botany both bottom bouncy bovine boxcar boxer boxlike breach breeze
brewery briar bribe brick bridged bright brim brisket brittle broaden broiler broken bronco broom
brought browse brute bubbly bucked buddy budget buffed bulb bulge bully bunch bundle bungee bunion
bunkbed bunny bunt busboy busily busload buzz cabana cabbie caboose cache cackle cacti caddy cadet
cadmium cage cahoots calcium caliber calm caloric calzone cameo camper canal cancel candle canine
canned canon canteen capable capital capped capsize caption carat carbon carded caress cargo caring
carload carnage carol carpool carry cartel carve carwash cascade casino catalog catchy caterer
catfish catlike catnap catsup catty catwalk caucus cause cavalry caviar cedar celery celtic cement
census certify chafe chain chalice chamber chant chaos chapter charm chaste cheddar cheek chef chemo
cherub chess chevy chewer chili chip chirpy chive choice choking chomp choosy chosen chowder chrome
chubby chuck chug chummy churn chute cider cinch cinema circle citable citizen citric city civic
clad claim clamp clang clapper clarify clash clatter clean clench clerk clever clicker client
climate clinic clique cloak clobber clone closure clothes cloud clubbed clumsy clunky clutch coach
coastal cobalt cobbler cobweb cocoa coerce coexist coffee coke cola collar colony comfy comic comma
compel comrade concur condone confess conical conjure consent contact convene copied copper copy
coral cork corny coroner correct corset cortex cosmos cost cotton cough could county courier cover
coyness cozily cradle crafty crane craving crayon crazy crease credit creed creme creole crept
crested crevice crewman crib cricket crier crimp cringe crispy critter crock croon crop cross crouch
crowd crucial crudely cruelly crumb crunchy crushed crux crying cryptic crystal cube cubical cuddle
culprit culture cupcake cupid cupping curable curfew curly curse curtsy cushy cusp cussed custard
cycle cymbal dagger daily dainty dance dandy dangle dares darkish darling dart data dating dawdler
dawn daybed daycare daylong dayroom daytime dazzler deacon dealt dean debate debit debrief debtor
debug decaf deceit decibel deck decline decoy decree deduct deed deepen deface defeat defile deflate
defog defraud deftly defuse defy deity delay delete delouse delta deluge demise denim denote dense
dental depict deploy deport depress depth deputy derail derby derived deserve desktop despair
destiny detest detract deuce devalue device devotee diagram dial diaper diary dice dictate dilute
dimly dimmed dimness dimple diner dingo dining diocese dioxide diploma dipped disarm disband discard
disdain dish disjoin dislike dismay disown display disrupt distant ditch ditto ditzy divided doable
docile dodge doing dole dolly dolphin domain donated donor donut doodle doorman dorsal dosage dotted
douche dowry drab drained drank drapery drastic dreamt drench dress drew dribble dried drift driller
drippy driven drizzle drone drool dropbox drown drudge drum dubbed duchess ducky duct dude duffel
dugout duller duly dumping duplex durably during dusk dutiful duvet dwarf dweeb dwelled dwindle
dynamic each eagle earache eardrum earful early earmark earring earshot earthy earwig easel easily
easter eatable eaten ebay ebony ecard echo eclair eclipse ecology economy edge edging editor effects
effort eggnog egotism eject elastic elated elbow eldest eleven elite elixir elope elude elusive
elves email embark emblem embody emcee emerald emit emote empathy emperor empower empty enable
enamel enclose encode encrust ended ending endless endnote endorse energy engaged engine engorge
engross engulf enhance enjoyer enrage enrich enroll enslave ensnare ensure entail entire entomb
entrap entwine envious envy enzyme epic episode equal equity erased errand error erupt eskimo
esquire essay essence estate etching eternal ethanol ether ethics evacuee evade evasion even evict
evil evoke evolve exact excess excuse exert exes exhale exhume exile exodus expand expel expire
expose extent extras fabric facial factor fade fading falcon fall false family fancy fang faucet
feast fedora feeble feel feisty feline felt femur fence fender ferry fervor fester fetal fetch fever
fiber fiddle fifth figure filing filled film filter finale finite five flail flaky flame flap flask
flatly fled fleshy flick flier flight flinch flirt float floral floss foam folic folk follow fondly
font food footer fossil foyer frays freely frenzy fresh friday friend frill frisk from frosty froth
frozen fruit gaffe gains gala galley galore game gaming gamma gander gangly garage garden gargle
garlic garnet garter gauze gawk gear gecko geek geiger genre gents gerbil getup giant giblet giddy
gift giggle gigolo gills girdle given giving gizmo gladly glance glare glass glider glitch gloomy
glove glue gluten gnarly gnat goal goes golf gonad gone gooey google goon gopher gorged gory gossip
gothic gotten gout graded grain granny grape grasp gravel gray green grid grief grime grinch groggy
groove growl grub grunt guide gulp gummy guru gush gusto guts gutter hacked haiku half halved hamlet
handed hangup hanky happy harbor hardy harsh hassle hasty hatbox hate hatred haunt haven hazard
hazily hazy headed heap heave hefty helium helmet helper henna herald herbs hermit hertz hubcap huff
hula human humble humid hummus humped humvee hunger hunk hurdle hurled hurry hurt husked hybrid
hyphen icing icky icon idiom idly igloo ignore iguana image impale impish imply impose impure iodine
ipad iphone irate issue item itunes ivory jackal jailer jargon java jawed jaws jazz jeep jelly
jersey jiffy jigsaw jimmy jingle jinx jockey jogger john jolt jovial joyous judge judo juggle juice
jumbo jump june junior junkie jurist juror jury justly kabob karate karma kebab keenly kelp kennel
kept kettle kick kiln kimono kindle king kisser kite kitty kiwi knee knelt knoll koala kooky kosher
kudos ladder ladies ladle lagged lagoon lair lake lapdog lapel laptop lard large lasso last lather
launch laurel lavish left legal legend lego legume lemon lend length lesser letter level liable life
lifter likely liking lilac lily limb limes limit linked lint lion liquid lisp litmus little lived
lizard lucid lumber lunar lung lurch lure lushly lusty luxury lying lyrics macaw mace maggot maimed
maker malt mama mammal mango manila manor mantis manual many march mardi margin marina maroon marrow
marshy mascot mashed masses math matrix matted mauve maybe mayday moaner mobile mocha mocker modify
module molar mold monday moody mooing mooned morale morse mosaic mossy motion motor motto mouth move
mower much mule mulled mumps muppet mural murky museum music musket muster mutate mutiny mutt mutual
muzzle myself nacho nail nanny nape napkin native nature navy nearby neatly nebula nectar negate
neon nephew nerd nervy nest neuron neuter nibble niece nifty nimbly ninja ninth nuclei nugget nutmeg
nutty nylon oasis object oblong oboe obtain obtuse occupy ocean ocelot octane ogle oink okay olive
omega omen onion online only onset onto onward onyx oops ooze opal opium oppose otter ought ounce
outage outbid outfit outing outlet output ovary oxford oxygen oyster ozone paced pacify padded pagan
pager palace paltry panama panda panic pants papaya parade parcel pardon parish parka parlor parole
parrot party pasta patio patrol pauper paving payee pebble pecan pectin pellet pelvis pencil penny
penpal perch perky perm peso petite petri petty phobia phony photo phrase plant plasma player plaza
pleat pledge plenty plod pluck plug plural poem pogo pointy poise poker poking polio polka poncho
pond pope poplar poppy porous portal posh possum posted pouch powwow prance precut prefix prelaw
prepay prewar primal print prior prism prize prong proofs props proton proud proved proxy prozac
prude public pucker pueblo pull pulse puma pumice pummel pupil purely purge purify purple purr
pushup python quack quail quake qualm quarry quench query quill quirk quit quiver quote rabid racing
rack racoon radar radio raft raider raisin rally ramble ramp ramrod ranch random ranged rare rarity
rascal ravage ravine ream reason rebel reboot rebuff recall recede recite recoil rectal refill
reflex refold refund regain reggae regime rehab reheat rehire rejoin relax relic reload rely remake
remedy remix rename rented reopen repair repeal replay repose reps rerun resale reset resize resort
result retail retool retry return retype reuse reverb revise revolt reward rewind rework rewrap
rhyme ribbon riches ridden riding rigid rigor rind riot ripple rise rival roamer roast robe robin
robust rocky rogue roman roping roster rosy royal rubber ruby ruckus ruined rumor runner runway rust
sacred sadden safari safely saga said saint salad saline salon salsa salute sandal sank santa sassy
satin saucy sauna saved savor scabby scale scam scant scarf scenic scheme scion scoff scone scoop
scorch scouts scrap screen scribe scroll scuba scurvy second secret sector sedan seduce seldom self
senate senior sepia septic sequel series sermon serve sesame shack shady shaft shame shanty shawl
sheath shed sheep shell sherry shield shifty shimmy shine shirt shore shout shown shrank shriek
shrug shun shush sierra siesta silent silica silk silly silver singer siren sister sitcom sixth size
sizing sizzle skater sketch skewed skied skiing skinny skype slab slacks slain slate sleek slept
sliced slimy slinky slit sliver slogan sloped sludge slum slurp small smile smirk smith smock smog
smoky smooth smudgy smugly snap snare snazzy sneak sneer snide sniff snitch snooze snort snowy snub
specks speed spent spew sphere sphinx spider spiffy spill spiny spiral spleen splice spoils spoken
sponge spoof sports spotty spouse sprain spree sprig sprout spruce spry spud squad squeak squint
stable staff stage stamp stand stark stash static stays steam stench step stereo stick stifle stilt
stingy stir stoic stoke stony stood storm straw streak strict strobe strum stucco study stuffy stung
stupor stylus suave sublet subpar subtly suburb subway sudoku suds suffix sugar suing suitor sulfur
sullen sultry supply surfer survey sushi swan swarm swear swirl swivel swoosh sworn syrup system
tabby tables tacky taco talcum tamale tamer taps target tarmac tarot tartar task tassel taste tattoo
tavern thank that thee theft thesis thigh thing thirty thorn those thread thrift throat thud thumb
tiara tibia tidal tidbit tidy tiger tile timid tingly tinker tinsel tipoff tipper tiptop tiring
trace trash treat treble tremor trend trial tricky trifle trio tripod trophy trout trowel truck
trump trunks truth tulip turf turkey turret turtle tutor tutu tweak tweed twelve twenty twerp twice
twig twins twisty twitch tycoon tyke udder ultra umpire unbend uncle uncork uncut undead undone
unease uneven unfair unfold unglue unholy unify unison unit unkind unless unmade unpack unplug
unreal unripe unruly unsafe unseen unsnap untie untrue unused unwary unwed unworn unzip upbeat
update upheld uphill upload upon upper uproar upside uptake uptown upward upwind urban urchin urgent
urging usable usage used usher usual utmost utopia vacant valid value vanity varied vastly veal
vegan veggie velcro velvet vendor venue verify verse very vessel veto vibes video viewer violet
viper viral virus visa vision visor vixen voice void volley voter voting vowed voyage wafer wages
waggle wagon walk walnut walrus waltz wand wanted wasabi washer wasp whacky wham wharf wheat whiff
whiny whole whoops widen widget widow width wifi wilder willow wilt wimp wince winner wipe wired
wiry wisdom wispy wobble womb woof word worry worst wound woven wrath wrist xbox xerox yahoo yeah
yield yippee yodel yoga yogurt yonder yoyo zebra zero zesty zippy zips zodiac zombie zoning zoom
""".split()
)
