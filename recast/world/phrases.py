"""How each kind of edit is asked for: at least eight phrasings a kind, from terse to chatty.

One phrasing per line. A line that begins with ~ is a whole remark; any other is an imperative, which `words` may wrap
("could you ...?"). A phrasing is only used if every {slot} in it has something to say. Slots: {the} and {of} tell whose
("the", or "the left person's"; "" or " of the person on the left"), {who} is that person, {for} is "" or, where there
are two, " for" that person, {old} and {new} are what was and what shall be, and {an_new}, {an_old} the same after "a"
or "an". Quoted strings come with their marks.
"""

from __future__ import annotations

PAGES = """
[shirt colour]
make {the} {shirt}{of} {new}
change {the} {shirt}{of} to {new}
change the color of {the} {shirt}{of} to {new}
turn {the} {shirt}{of} {new}
recolor {the} {shirt}{of} to {new}
swap {the} {old} {shirt}{of} for {an_new} one
change {the} {old} {shirt}{of} to {new}
paint {the} {shirt}{of} {new}
dress {who} in {new}
~{new} {shirt}{for}
~{the} {shirt}{of} should be {new}
~{the} {shirt}{of} would look better in {new}
~I'd love {the} {shirt}{of} in {new} instead

[outfit]
put {who} in {an_new}
dress {who} in {an_new}
change {the} {old}{of} to {an_new}
swap {the} {old}{of} for {an_new}
replace {the} {old}{of} with {an_new}
turn {the} {old}{of} into {an_new}
let {who} wear {an_new}
give {who} {an_new} to wear
~{an_new} instead of {the} {old}{of}
~{who} should wear {an_new}

[outfit and colour]
put {who} in {new}
dress {who} in {new}
let {who} wear {new}
change {the} clothes{of} to {new}
swap {the} {old}{of} for {new}
replace {the} {old}{of} with {new}
give {who} {new}
change {the} top{of} to {new}
~{who} in {new}
~{who} should wear {new}

[hair colour]
make {the} {hair}{of} {new}
dye {the} {hair}{of} {new}
color {the} {hair}{of} {new}
change the color of {the} {hair}{of} to {new}
turn {the} {hair}{of} {new}
change {the} {old} {hair}{of} to {new}
give {who} {new} {hair}
recolor {the} {hair}{of} to {new}
~{new} {hair}{for}
~{the} {hair}{of} should be {new}
~how about {new} {hair}{for}?

[hair style]
give {who} {new}
change {the} hairstyle{of} to {new}
change {the} haircut{of} to {new}
change {the} {old}{of} to {new}
let {who} have {new}
restyle {the} hair{of}: {new}
show {who} with {new}
swap {the} {old}{of} for {new}
~{who} with {new}
~{who} should have {new}

[add beard]
add a beard{to}
give {who} a beard
let {who} grow a beard
draw a beard on {who}
put a beard on {who}
make {who} bearded
show {who} with a beard
~beard for {who}
~{who} needs a beard
~{who} with a beard, like a lumberjack

[shave beard]
remove {the} beard{of}
shave off {the} beard{of}
get rid of {the} beard{of}
take {the} beard{of} away
shave {who}
make {who} clean-shaven
show {who} without a beard
delete {the} beard{of}
~no beard for {who}
~{who} should have no beard

[add glasses]
add {new}{to}
give {who} {new}
put {new} on {who}
let {who} wear {new}
make {who} wear {new}
draw {new} on {who}
show {who} with {new}
~{new} for {who}
~{who} needs {new}
~{who} should wear {new}

[other glasses]
change {the} {old}{of} to {new}
swap {the} {old}{of} for {new}
replace {the} {old}{of} with {new}
change {the} glasses{of} to {new}
turn {the} {old}{of} into {new}
give {who} {new} instead of the {old}
put {new} on {who} instead
~{new} instead of the {old} for {who}
~{who} should wear {new}, not {old}

[remove glasses]
remove {the} {old}{of}
take off {the} {old}{of}
take {the} {old}{of} away
get rid of {the} {old}{of}
remove {the} glasses{of}
show {who} without the {old}
delete {the} {old}{of}
erase {the} {old}{of}
~no {old} for {who}
~{who} should not wear {old}

[add hat]
add {a_new}{to}
give {who} {a_new}
put {a_new} on {who}
let {who} wear {a_new}
make {who} wear {a_new}
place {a_new} on {the} head{of}
show {who} with {a_new}
~{a_new} for {who}
~{who} should wear {a_new}
~{who} needs {a_new}

[other hat]
change {the} {old}{of} to {a_new}
swap {the} {old}{of} for {a_new}
replace {the} {old}{of} with {a_new}
turn {the} {old}{of} into {a_new}
change {the} hat{of} to {a_new}
give {who} {a_new} instead of the {old}
put {a_new} on {who} instead of the {old}
~{a_new} instead of the {old} for {who}
~{who} should wear {a_new}, not the {old}

[hat colour]
make {the} {hat}{of} {new}
change {the} {hat}{of} to {new}
recolor {the} {hat}{of} to {new}
turn {the} {hat}{of} {new}
change the color of {the} {hat}{of} to {new}
change the color of {the} {hat}{of} from {old} to {new}
paint {the} {hat}{of} {new}
~{the} {hat}{of} in {new}
~{the} {hat}{of} should be {new}

[remove hat]
remove {the} {old}{of}
take off {the} {old}{of}
take {the} {old}{of} away
get rid of {the} {old}{of}
delete {the} {old}{of}
erase {the} {old}{of}
show {who} without the {old}
~no {old} for {who}
~{who} should not wear {an_old}
~{the} {old}{of} has to go

[add logo]
add {a_new} to {the} {shirt}{of}
put {a_new} on {the} {shirt}{of}
print {a_new} on {the} {shirt}{of}
place {a_new} on {the} chest{of}
decorate {the} {shirt}{of} with {a_new}
give {the} {shirt}{of} {a_new}
draw {a_new} on {the} {shirt}{of}
~{a_new} on {the} {shirt}{of}
~{the} {shirt}{of} needs {a_new}

[other logo]
change {the} {old}{of} to {a_new}
swap {the} {old}{of} for {a_new}
replace {the} {old}{of} with {a_new}
turn {the} {old}{of} into {a_new}
change the logo on {the} {shirt}{of} to {a_new}
put {a_new} on {the} {shirt}{of} instead of the {old}
print {a_new} where the {old} is on {the} {shirt}{of}
~{a_new} instead of the {old} on {the} {shirt}{of}
~the logo on {the} {shirt}{of} should be {a_new}

[logo colour]
make the {logo} on {the} {shirt}{of} {new}
change the {logo} on {the} {shirt}{of} to {new}
turn the {logo} on {the} {shirt}{of} {new}
recolor the {logo} on {the} {shirt}{of} to {new}
change the color of the {logo} on {the} {shirt}{of} to {new}
change the {old} {logo} on {the} {shirt}{of} to {new}
paint the {logo} on {the} {shirt}{of} {new}
~the {logo} on {the} {shirt}{of} should be {new}
~{an_new} {logo} on {the} {shirt}{of}, not {an_old} one

[remove logo]
remove the {old} from {the} {shirt}{of}
take the {old} off {the} {shirt}{of}
delete the {old} on {the} {shirt}{of}
erase the {old} on {the} {shirt}{of}
get rid of the {old} on {the} {shirt}{of}
remove the logo from {the} {shirt}{of}
make {the} {shirt}{of} blank, without the {old}
~no {old} on {the} {shirt}{of}
~{the} {shirt}{of} should have no {old}

[expression]
make {who} look {new}
make {who} {new}
change {the} expression{of} to {new}
change {the} face{of} from {old} to {new}
give {who} {an_new} face
let {who} look {new}
turn {the} {old} look{of} into {an_new} one
show {who} looking {new}
~{who} should look {new}
~{new} face{for}
~{who} should be {new}, not {old}

[pose]
make {who} {verb}
let {who} {verb}
have {who} {verb}
change {the} pose{of} to {new}
show {who} {new}
change {the} pose{of} from {old} to {new}
have {who} {verb} instead of {old}
~{who} {new}
~{who} should be {new}
~{who} should {verb}

[hold]
give {who} {a_new} to hold
put {a_new} in {the} hand{of}
let {who} hold {a_new}
make {who} hold {a_new}
have {who} hold {a_new}
place {a_new} in {the} hand{of}
show {who} holding {a_new}
~{who} holding {a_new}
~{who} should hold {a_new}

[hold other]
replace the {old} in {the} hand{of} with {a_new}
swap the {old} in {the} hand{of} for {a_new}
change the {old} in {the} hand{of} to {a_new}
turn the {old} in {the} hand{of} into {a_new}
let {who} hold {a_new} instead of the {old}
have {who} hold {a_new} instead of the {old}
give {who} {a_new} to hold, not the {old}
~{a_new} in {the} hand{of} instead of the {old}
~{who} should hold {a_new}, not the {old}

[held colour]
make the {held} in {the} hand{of} {new}
change the {held} in {the} hand{of} to {new}
turn the {held} in {the} hand{of} {new}
recolor the {held} in {the} hand{of} to {new}
change the color of the {held} in {the} hand{of} to {new}
change the {old} {held} in {the} hand{of} to {new}
paint the {held} that {who} is holding {new}
~the {held} in {the} hand{of} should be {new}
~{an_new} {held} in {the} hand{of}, not {an_old} one

[let go]
remove the {old} from {the} hand{of}
take the {old} out of {the} hand{of}
take the {old} away from {who}
let {who} drop the {old}
make {who} hold nothing instead of the {old}
erase the {old} in {the} hand{of}
get rid of the {old} in {the} hand{of}
~{who} without the {old}
~no {old} in {the} hand{of}

[move person]
move {who} {towards}
shift {who} {towards}
slide {who} {towards}
put {who} {new}
place {who} {new}
show {who} {new} instead
move {who} from the {old} {towards}
~{who} {new}
~{who} should stand {new}
~{who} should be {new}, not on the {old}

[add person]
add {a_new} {where}
put {a_new} {where}
place {a_new} {where}
draw {a_new} {where}
show {a_new} {where} as well
insert {a_new} {where}
let {a_new} stand {where}
~{a_new} {where}
~also {a_new} {where}

[remove person]
remove {who}
delete {who}
erase {who}
take {who} out of the picture
get rid of {who}
take {who} away
make {who} disappear
cut {who} out
~the picture without {who}
~{who} has to go

[add thing]
add {a_new} {where}
put {a_new} {where}
place {a_new} {where}
draw {a_new} {where}
insert {a_new} {where}
let there be {a_new} {where}
show {a_new} {where}
~{a_new} {where}
~there should be {a_new} {where}
~the picture needs {a_new} {where}

[remove thing]
remove {old}
delete {old}
erase {old}
get rid of {old}
take {old} away
take {old} out of the picture
make {old} disappear
clean up the picture: remove {old}
~without {old}, please
~{old} has to go

[replace thing]
replace {old} with {a_new}
swap {old} for {a_new}
turn {old} into {a_new}
change {old} to {a_new}
change {old} into {a_new}
put {a_new} in the place of {old}
exchange {old} for {a_new}
~{a_new} instead of {old}
~{old} should be {a_new}

[thing colour]
make {thing} {new}
change {thing} to {new}
turn {thing} {new}
recolor {thing} to {new}
paint {thing} {new}
change the color of {thing} to {new}
change the color of {thing} from {old} to {new}
~{thing} in {new}
~{thing} should be {new}

[thing size]
make {thing} {new}
turn {thing} into {an_new} one
resize {thing}: make it {new}
change {thing} from {old} to {new}
change the size of {thing} to {new}
make {thing} {newer}
scale {thing}, make it {new}
~{thing} should be {new}
~{thing}, but {new}
~{thing} should be {new}, not {old}

[move thing]
move {thing} {towards}
shift {thing} {towards}
slide {thing} {towards}
put {thing} {new}
place {thing} {new}
bring {thing} {towards}
show {thing} {new} instead
~{thing} {new}
~{thing} should be {new}

[add arrow]
add {a_new} pointing {at}
put {a_new} on it pointing {at}
draw {a_new} that points {at}
place {a_new} pointing {at}
point {a_new} {at}
insert {a_new} that points {at}
show {a_new} pointing {at}
~{a_new} pointing {at}
~it needs {a_new} that points {at}

[add circle]
add {a_new} around {at}
draw {a_new} around {at}
put {a_new} around {at}
place {a_new} around {at}
circle {at} in {colour}
highlight {at} with {a_new}
mark {at} with {a_new}
~{a_new} around {at}
~it needs {a_new} around {at}

[add border]
add {a_new}
put {a_new} around the picture
draw {a_new} around it
give the picture {a_new}
frame the picture with {a_new}
surround the image with {a_new}
place {a_new} around everything
~{a_new}
~it needs {a_new}
~{a_new} around the whole picture

[add sticker]
add {a_new} in the {corner} corner
put {a_new} in the {corner} corner
place {a_new} in the {corner} corner
stick {a_new} on the {corner} corner
slap {a_new} onto the {corner} corner
add {a_new}, {corner}
insert {a_new} at the {corner}
~{a_new} in the {corner} corner
~{a_new}, {corner}
~it needs {a_new} at the {corner}

[add corner logo]
add {a_new} in the {corner} corner
put {a_new} in the {corner} corner
place {a_new} in the {corner} corner
set {a_new} into the {corner} corner
brand it with {a_new} at the {corner}
add {a_new}, {corner}
insert {a_new} at the {corner}
~{a_new} in the {corner} corner
~{a_new}, {corner}

[mark colour]
make the {mark} {new}
change the {mark} to {new}
turn the {mark} {new}
recolor the {mark} to {new}
paint the {mark} {new}
change the color of the {mark} to {new}
change the {old} {mark} to {new}
~the {mark} in {new}
~the {mark} should be {new}

[remove mark]
remove the {mark}
delete the {mark}
erase the {mark}
get rid of the {mark}
take the {mark} away
take the {mark} off the picture
make the {mark} disappear
~no {mark}
~the {mark} has to go
~without the {mark}

[background]
change the background to {new}
replace the background with {new}
make the background {new}
swap the background for {new}
set the scene {where}
put it {where}
move the scene to {new}
show it {where} instead
change the scenery from {old} to {new}
~{new} as the background
~new background: {new}
~the whole thing {where}
~I'd rather have {new} behind it

[background and time]
change the background to {new} {when}
replace the background with {new} {when}
make the background {new} {when}
set the scene {where} {when}
put it {where} {when}
swap the background for {new} {when}
show it {where} {when}
~{new} {when} as the background
~the whole thing {where} {when}
~new background: {new} {when}

[photo background]
change the background to {new}
replace the background with {new}
put {new} behind it
use {new} as the background
swap the background for {new}
make the background {new}
set it {where}
~{new} as the background
~{new} behind everything
~new background: {new}

[night]
make it night
turn it into a night scene
turn it to night
change the time to night
let it be night
show it at night
make it nighttime
make it dark, at night
set it at night
~night
~at night
~it should be night
~night scene instead

[sunset]
make it sunset
turn it into a sunset scene
give it a sunset
change the time to sunset
show it at sunset
let the sun set
make it evening, at sunset
set it at sunset
~sunset
~at sunset
~golden evening light
~it should be sunset

[winter]
make it winter
turn it into a winter scene
let it snow
add snow everywhere
change the season to winter
show it in winter
cover it in snow
set it in winter
~winter
~in winter
~snow
~it should be winter

[day]
make it day
make it daytime
turn it into a day scene
change the time to day
show it by day
show it in daylight
let it be day
set it in the daytime
~day
~by day
~daylight
~it should be daytime

[black and white]
make it black and white
turn it black and white
convert it to black and white
convert it to grayscale
remove all color
make the picture grayscale
desaturate it fully
show it in black and white
~black and white
~in black and white
~like an old black and white photo

[warm]
make it warmer
warm it up
make the colors warmer
give it a warm tone
shift the colors towards warm
add warmth to the colors
apply a warm filter
tint it warm
~warmer
~warm colors
~warmer tones

[cool]
make it cooler
cool it down
make the colors cooler
give it a cool tone
shift the colors towards blue
make the light colder
apply a cool filter
tint it cool
~cooler
~cool colors
~cooler tones

[contrast]
add contrast
increase the contrast
make it more contrasty
give it more contrast
raise the contrast
boost the contrast
turn the contrast up
make it punchier, with more contrast
~more contrast
~higher contrast
~it needs more contrast

[blur]
blur the background
make the background blurry
put the background out of focus
defocus the background
give it a shallow depth of field
soften the background with a blur
add background blur
apply a portrait mode blur to the background
~blurred background
~background out of focus
~the background should be blurry

[style]
make it {a_new}
turn it into {a_new}
turn this into {a_new}
convert it to {new} style
redraw it as {a_new}
render it in {new} style
change the style to {new}
paint it in the style of {a_new}
apply {an_new} effect
make it look like {a_new}
~{new}
~{new} style
~as {a_new}
~I'd love to see this as {a_new}

[style of picture 2]
use the style of {two}
apply the style of {two} to {one}
redraw {one} in the style of {two}
make {one} look like {two} in style
turn {one} into the style of {two}
give {one} the look of {two}, keep its content
transfer the style of {two}
match the style of {two}
~same style as {two}
~{one} in the style of {two}

[person elsewhere]
put {this} {where}
place {this} {where}
show {this} {where}
move {this} to {new}
take {this} to {new}
draw {this} {where}
make a picture of {this} {where}
create a new picture with {this} {where}
~{this} {where}
~the same person, now {where}
~a picture of {this} {where}

[person elsewhere doing]
show {this} {where}, {doing}
put {this} {where}, {doing}
place {this} {where}, {doing}
draw {this} {doing} {where}
show {this} {doing} {where}
make a picture of {this} {doing} {where}
create an image of {this} {where}, {doing}
~{this} {doing} {where}
~the same person {doing} {where}
~{this} {where}, {doing}

[person elsewhere dressed]
show {this} {where} in {clothes}
put {this} {where} in {clothes}
place {this} {where}, wearing {clothes}
draw {this} {where} in {clothes}
dress {this} in {clothes} and go to {new}
make a picture of {this} {where} wearing {clothes}
create an image of {this} in {clothes} {where}
~{this} {where} in {clothes}
~the same person in {clothes} {where}
~{this}, wearing {clothes}, {where}

[sheet into scene]
put {this} {where}{more}
place {this} {where}{more}
show {this} {where}{more}
draw {this} {where}{more}
make a thumbnail of {this} {where}{more}
create a scene: {this} {where}{more}
use {this} for a picture {where}{more}
~{this} {where}{more}
~a thumbnail with {this} {where}{more}
~{this} again, {where}{more}

[logo onto shirt]
put the logo from {two} on {the} {shirt}{of}
put the logo of {two} on {the} {shirt}{of}
print the logo of {two} on {the} {shirt}{of}
add the logo from {two} to {the} {shirt}{of}
place the symbol from {two} on {the} {shirt}{of}
take the logo in {two} and print it on {the} {shirt}{of}
use {two} as the logo on {the} {shirt}{of}
~logo from {two} onto {the} {shirt}{of}
~{the} {shirt}{of} with the logo from {two}

[person into place]
put the person from {one} into {two}
place the person of {one} in the scene of {two}
add the person from {one} to {two}
insert the person from {one} into {two}
show the person of {one} in the place of {two}
move the person from {one} into {two}
take the person in {one} and put them in {two}
combine them: the person of {one}, the place of {two}
~the person from {one} in {two}
~person of {one}, place of {two}

[thing into picture]
put the {thing} from {two} {where} in {one}
add the {thing} from {two} to {one}, {where}
place the {thing} of {two} {where} in {one}
insert the {thing} from {two} {where}
take the {thing} in {two} and put it {where} in {one}
bring the {thing} of {two} into {one}, {where}
show the {thing} from {two} {where} in {one}
~the {thing} from {two} {where} in {one}
~{one} with the {thing} from {two} {where}

[logo into corner]
put the logo from {two} in the {corner} corner
put this logo in the {corner} corner
place the logo of {two} in the {corner} corner of {one}
add the logo from {two} to the {corner} corner
set the logo of {two} into the {corner} corner
brand {one} with the logo from {two}, {corner}
insert the logo from {two} at the {corner}
~logo from {two} in the {corner} corner
~logo of {two}, {corner}

[two people together]
put both people into one picture {where}, {side}
put the people from both pictures {where}, {side}
show the two people together {where}, {side}
show the person from {one} and the person from {two} {where}, {side}
place the person of {one} next to the person of {two} {where}, {side}
bring both of them together {where}, {side}
draw the two people side by side {where}, {side}
~both people {where}, {side}
~the people of {one} and {two} together {where}, {side}

[add title]
add the {title} {quote}{how}
put the {title} {quote} on it{how}
write {quote}{how}
write {quote} on the picture{how}
insert the {title} {quote}{how}
place the {title} {quote} on the picture{how}
add {quote} as {title}{how}
make it say {quote}{how}
~{title}: {quote}{how}
~the {title} {quote}{how}
~it should say {quote}{how}

[change title]
change the {title} to {quote}
make the {title} say {quote}
replace the {title} with {quote}
change {old_quote} to {quote}
replace {old_quote} with {quote}
let the {title} read {quote}
rewrite the {title} as {quote}
swap {old_quote} for {quote}
edit the {title}: {quote}
~{quote} instead of {old_quote}
~the {title} should say {quote}
~{title}: {quote}

[one letter]
fix the spelling: {quote}
correct the {title} to {quote}
change {old_quote} to {quote}
fix the {title}, it should be {quote}
replace {old_quote} with {quote}
change one character so that it says {quote}
correct the typo in the {title}: {quote}
make {old_quote} read {quote}
~it should say {quote}, not {old_quote}
~{quote}, not {old_quote}
~typo, the {title} must be {quote}

[remove title]
remove the {title}
delete the {title}
erase the {title}
get rid of the {title}
remove {old_quote}
take {old_quote} off
take the {title} away
make the {title} disappear
clean the picture of its {title}
~no {title}
~without the {title}
~the {title} has to go

[title colour]
make the {title} {new}
change the {title} color to {new}
turn the {title} {new}
recolor the {title} to {new}
write {quote} in {new}
change the color of the letters to {new}
paint the letters {new}
change the {title} from {old} to {new}
~{new} letters
~the {title} in {new}
~the {title} should be {new}

[title place]
move the {title} {towards}
shift the {title} {towards}
bring the {title} {towards}
put the {title} {new}
place the {title} {new}
write {quote} {new} instead
move {quote} {towards}
~the {title} {new}
~the {title} should be {new}
~{quote} {new}, please

[title side]
align the {title} {new}
move the {title} {towards}
shift the {title} {towards}
put the {title} {side}
place the {title} {side}
set {quote} {side}
push the {title} {towards}
~the {title} {side}
~the {title} should be {side}

[title font]
change the font to {new}
set the {title} in {an_new} font
use {an_new} font for the {title}
write {quote} in {an_new} font
change the lettering to {an_new} typeface
give the {title} {an_new} font
make the {title} {new}
switch to {an_new} font
~{new} font
~the {title} in {an_new} font
~the {title} should be in {an_new} font

[title outline]
give the {title} {an_new} outline
make the outline of the {title} {new}
outline the {title} in {new}
change the outline of the letters to {new}
put {an_new} outline around the letters
add {an_new} edge to the letters
change the outline from {old} to {new}
~{new} outline for the {title}
~{an_new} outline around {quote}
~the {title} should have {an_new} outline

[add plate]
put {an_new} bar behind the {title}
add {an_new} box behind the {title}
place {an_new} plate behind the letters
set the {title} on {an_new} bar
back the {title} with {an_new} box
give the {title} {an_new} background bar
draw {an_new} bar behind {quote}
~{an_new} bar behind the {title}
~the {title} on {an_new} box

[plate colour]
make the bar behind the {title} {new}
change the bar behind the {title} to {new}
turn the box behind the {title} {new}
recolor the bar behind the letters to {new}
change the box behind {quote} to {new}
change the bar behind the {title} from {old} to {new}
paint the bar behind the {title} {new}
~the bar behind the {title} in {new}
~the box behind the letters should be {new}

[remove plate]
remove the bar behind the {title}
delete the {old} bar behind the {title}
erase the box behind the letters
take away the bar behind the {title}
get rid of the {old} box behind {quote}
take the box behind the {title} away
drop the {old} bar behind the letters
~no bar behind the {title}
~the {title} without its {old} box

[title size]
make the {title} {new}
set the {title} {new}
change the {title} size to {new}
resize the {title} to {new}
write {quote} in {new} letters
use {new} letters for the {title}
change the letters from {old} to {new}
~{new} letters
~the {title} should be {new}
~the {title}, but {new}

[title tilt]
make the {title} {new}
set the {title} {new}
have the {title} {new}
draw the {title} {new}
turn the {title} so that it is {new}
change the slant of the {title}: {new}
show {quote} {new}
~the {title} {new}
~the {title} should be {new}

[keep]
keep everything as it is
leave everything as it is
change nothing
~don't change anything
~please don't change anything
return the picture unchanged
leave the picture alone
do nothing
keep the picture exactly the same
~no changes
~perfect, leave it
~it's fine as it is
~nothing to change here
"""

WRAPS = """
please {x}
{x} please
{x}, please
could you {x}?
can you {x}?
could you please {x}?
can you please {x} for me?
would you {x}?
I'd like you to {x}
I want you to {x}
I need you to {x}
I'd love it if you could {x}
now {x}
next, {x}
just {x}
hey, {x}
ok, {x}
{x}, thanks
go ahead and {x}
it would be great if you could {x}
"""
KEEPS = """
{x}, keep the rest
{x}, keep everything else
{x} and leave everything else as it is
{x} without changing anything else
only {x}
{x}, nothing else
"""


def _pages(text: str) -> dict[str, tuple[str, ...]]:
    pages = {}
    for page in text.strip().split("\n\n"):
        head, *lines = page.split("\n")
        pages[head.strip("[]")] = tuple(lines)
    return pages


TEMPLATES = _pages(PAGES)
"""The phrasings of each kind of edit."""
WRAPPERS = tuple(WRAPS.strip().split("\n"))
KEEPERS = tuple(KEEPS.strip().split("\n"))
