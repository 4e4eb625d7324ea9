"""Render the sprite sheet of `car.scenes` from Noto Color Emoji. Run at development time; the package ships its output.

    python tools/make_sprites.py --font /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf \
        --copyright /usr/share/doc/fonts-noto-color-emoji/copyright
"""

import json
import math
import os
from io import BytesIO
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SCENES = Path(__file__).parents[1] / "car" / "scenes"
GLYPH_SIZE = 109
"""The only size the font's bitmaps exist at."""
CELL = 96
COLUMNS = 20

# name, synonyms in brackets, then one glyph per variant; the last of several is kept from training.
CONCEPTS = """
person [human, people, man, woman, person with clothes]: 🧍 🚶 🧑 👩 👨 🏃 💃 🕺
boy [kid]: 👦
girl: 👧
ghost: 👻
skull: 💀
robot: 🤖
snowman: ⛄
hand: ✋ 👋
eye: 👁
mouth [lips]: 👄
dog [puppy]: 🐕 🐶 🐩 🦮
cat [kitten]: 🐈 🐱 😺
lion: 🦁
tiger: 🐅 🐯
leopard: 🐆
horse [pony]: 🐎 🐴
zebra: 🦓
unicorn: 🦄
deer: 🦌
cow [ox]: 🐄 🐮 🐂 🐃
pig: 🐖 🐷 🐗
sheep [ram]: 🐑 🐏
goat: 🐐
camel: 🐫 🐪
llama [alpaca]: 🦙
giraffe: 🦒
elephant: 🐘 🦣
rhinoceros [rhino]: 🦏
hippopotamus [hippo]: 🦛
mouse [rat]: 🐁 🐭 🐀
rabbit [bunny]: 🐇 🐰
bear: 🐻
koala: 🐨
panda: 🐼
polar bear: 🐻‍❄
fox: 🦊
wolf: 🐺
kangaroo: 🦘
monkey: 🐒 🐵 🙈
chicken [hen, rooster]: 🐔 🐓
bird [bird avian]: 🐦 🕊
duck: 🦆
swan: 🦢
owl: 🦉
eagle [hawk]: 🦅
penguin: 🐧
flamingo: 🦩
peacock: 🦚
parrot: 🦜
frog: 🐸
crocodile [alligator]: 🐊
turtle [tortoise]: 🐢
snake: 🐍
dragon: 🐉 🐲
dinosaur: 🦕 🦖
whale: 🐋 🐳
dolphin: 🐬
fish: 🐟 🐠
shark: 🦈
octopus: 🐙
shrimp [prawn]: 🦐
crab: 🦀
lobster: 🦞
snail: 🐌
butterfly: 🦋
bug [caterpillar]: 🐛
bee [honeybee]: 🐝
spider: 🕷
flower [blossom]: 🌸 🌼 🌺
rose: 🌹
sunflower: 🌻
tulip: 🌷
potted plant [houseplant, pottedplant]: 🪴
tree: 🌳 🌲
palm tree: 🌴
cactus: 🌵
leaf: 🍁 🍃 🍂
mushroom: 🍄
apple: 🍎 🍏
pear: 🍐
orange [tangerine]: 🍊
lemon: 🍋
banana: 🍌
watermelon: 🍉
grapes [grape]: 🍇
strawberry: 🍓
cherry [cherries]: 🍒
pineapple: 🍍
kiwi: 🥝
tomato: 🍅
avocado: 🥑
eggplant [aubergine]: 🍆
potato: 🥔
carrot: 🥕
corn: 🌽
broccoli: 🥦
bread [loaf]: 🍞 🥖
croissant: 🥐
cheese: 🧀
egg: 🥚
frying pan [pan]: 🍳
meat [steak]: 🥩 🍖 🍗
hamburger [burger]: 🍔
french fries [fries, chips]: 🍟
pizza: 🍕
hot dog [hotdog]: 🌭
sandwich: 🥪
salad: 🥗
soup: 🍲 🍜
bowl: 🥣 🍚
sushi: 🍣
ice cream: 🍨 🍦
donut [doughnut]: 🍩
cookie [biscuit]: 🍪
cake: 🎂 🍰 🧁
cup [mug, coffee cup]: ☕ 🍵 🥤
bottle: 🍼 🍾 🍶
wine glass [glass of wine]: 🍷 🍸
beer: 🍺
fork: 🍴
spoon [dessertspoon]: 🥄
knife: 🔪 🗡
plate [dining table, diningtable, dish]: 🍽
vase [amphora, jar]: 🏺
globe [earth globe]: 🌍 🌎
tent: ⛺
house: 🏠 🏡
castle: 🏰 🏯
building [office building]: 🏢 🏬 🏦
ferris wheel: 🎡
train [locomotive]: 🚂 🚆 🚄 🚇
tram [trolley]: 🚊 🚋 🚃
bus: 🚌 🚍 🚎
ambulance: 🚑
fire engine [fire truck]: 🚒
car [automobile]: 🚗 🚙 🚘
taxi [cab]: 🚕 🚖
police car: 🚓 🚔
race car [racing car]: 🏎
truck [lorry]: 🚚 🚛
tractor: 🚜
motorcycle [motorbike]: 🏍 🛵
bicycle [bike]: 🚲
scooter [kick scooter]: 🛴
skateboard: 🛹
stop sign: 🛑
traffic light: 🚦 🚥
fire extinguisher: 🧯
anchor: ⚓
boat [ship]: ⛵ 🚤 🚢 🛶 ⛴
airplane [aeroplane, plane]: ✈ 🛩 🛫
helicopter: 🚁
rocket: 🚀
hourglass: ⌛
clock: 🕰 ⏰
watch [wristwatch]: ⌚
moon: 🌙 🌝
sun: 🌞 ☀
star: ⭐ 🌟
rainbow: 🌈
umbrella [parasol]: ☂ ⛱ ☔
fire [flame]: 🔥
christmas tree: 🎄
balloon: 🎈
gift [present]: 🎁
trophy: 🏆
soccer ball [football, sports ball]: ⚽
baseball: ⚾
basketball: 🏀
volleyball: 🏐
american football [rugby ball]: 🏈
tennis racket [tennis ball]: 🎾
frisbee: 🥏
skis [ski]: 🎿 ⛷
snowboard [snowboarder]: 🏂
surfboard [surfer]: 🏄
kite: 🪁
video game [game controller]: 🎮 🕹
teddy bear: 🧸
glasses [eyeglasses]: 👓 🕶
tie [necktie]: 👔
shirt [t-shirt]: 👕
jeans [trousers, pants]: 👖
scarf: 🧣
gloves [glove]: 🧤
coat [jacket]: 🧥
socks: 🧦
dress: 👗
handbag [purse, bag]: 👜 👛
backpack: 🎒
suitcase [luggage]: 🧳
shoe [sneaker]: 👞 👟
high heel: 👠
boot: 👢 🥾
crown: 👑
hat: 👒 🎩 🧢
helmet: ⛑
ring [diamond ring]: 💍
diamond [gem]: 💎
bell: 🔔
guitar: 🎸
piano [musical keyboard]: 🎹
trumpet: 🎺
violin: 🎻
drum: 🥁
saxophone: 🎷
microphone: 🎤
headphones: 🎧
radio: 📻
cell phone [mobile phone, smartphone]: 📱
telephone: ☎
battery: 🔋
laptop [computer]: 💻
monitor [desktop computer]: 🖥
keyboard: ⌨
computer mouse: 🖱
television [tv, tvmonitor, tvmonitor screen]: 📺
camera: 📷 📸
light bulb: 💡
flashlight [torch]: 🔦
candle: 🕯
book: 📕 📖 📚
newspaper: 📰
envelope [letter]: ✉
pencil: ✏
paintbrush: 🖌
scissors: ✂
lock [padlock]: 🔒
key: 🔑 🗝
hammer: 🔨
axe: 🪓
ladder: 🪜
door: 🚪
bed: 🛏
couch [sofa]: 🛋
chair [armchair, chair seat]: 🪑
toilet: 🚽
bathtub [bath]: 🛁
toothbrush: 🪥
shopping cart: 🛒
flag: 🚩 🏴
heart: ❤ 💙
"""


def parse(table: str) -> dict[str, tuple[list[str], list[str]]]:
    """Concept -> (synonyms, glyphs) of the table above."""
    concepts = {}
    for line in table.strip().splitlines():
        head, glyphs = line.split(": ")
        name, _, synonyms = head.partition(" [")
        concepts[name] = ([s.strip() for s in synonyms.rstrip("]").split(",") if s], glyphs.split())
    return concepts


def render(font: ImageFont.FreeTypeFont, glyph: str) -> Image.Image | None:
    """The glyph's bitmap, cropped to what is visible, its longer side `CELL`; None where the font lacks it."""
    canvas = Image.new("RGBA", (320, 200))
    ImageDraw.Draw(canvas).text((40, 20), glyph, font=font, embedded_color=True)
    alpha = np.asarray(canvas)[..., 3] >= 16
    if alpha.sum() < 400:
        return None
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    cropped = canvas.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))
    scale = CELL / max(cropped.size)
    resized = cropped.resize([max(1, round(n * scale)) for n in cropped.size], Image.Resampling.LANCZOS)
    return Image.fromarray(quantise(np.asarray(resized)))


def quantise(rgba: np.ndarray) -> np.ndarray:
    """Five bits per colour and four of alpha, invisible on these flat drawings; the sheet compresses to half."""
    rgb = np.round(rgba[..., :3] / 255 * 31) * (255 / 31)
    alpha = np.round(rgba[..., 3:] / 17) * 17
    return np.concatenate([np.where(alpha > 0, rgb, 0), alpha], axis=-1).round().astype(np.uint8)


def write(path: Path, data: bytes) -> None:
    """Write a file by way of a temporary name beside it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def licence(copyright_file: Path) -> str:
    """The font's copyright line and the text of its licence, from Debian's copyright file."""
    text = copyright_file.read_text(encoding="utf-8")
    start = text.index(" This Font Software is licensed")
    body = ["" if line.strip() == "." else line[1:] for line in text[start:].splitlines()]
    return (
        "The sprites in sprites.png (and the scenes composed of them, demo.jpg) are rendered from the font\n"
        "Noto Color Emoji, Copyright 2013-2017 Google Inc. (https://github.com/googlefonts/noto-emoji).\n\n"
        + "\n".join(body).strip()
        + "\n"
    )


@click.command(help=__doc__.replace("\n\n    ", "\n\n\b\n    "))
@click.option("--font", "font_path", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--copyright", "copyright_file", type=click.Path(exists=True, path_type=Path), required=True)
def main(font_path: Path, copyright_file: Path) -> None:
    font = ImageFont.truetype(str(font_path), GLYPH_SIZE)
    concepts = parse(CONCEPTS)
    sprites = [(name, render(font, g), g) for name, (_, glyphs) in concepts.items() for g in glyphs]
    for name, image, glyph in sprites:
        if image is None:
            raise click.ClickException(f"The font has no glyph {glyph!r} for {name!r}; take it out of the table.")
    sheet = Image.new("RGBA", (COLUMNS * CELL, math.ceil(len(sprites) / COLUMNS) * CELL))
    index = {name: {"synonyms": synonyms, "boxes": []} for name, (synonyms, _) in concepts.items()}
    for i, (name, image, _) in enumerate(sprites):
        x, y = i % COLUMNS * CELL, i // COLUMNS * CELL
        sheet.paste(image, (x, y))
        index[name]["boxes"].append([x, y, x + image.width, y + image.height])
    buffer = BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    write(SCENES / "sprites.png", buffer.getvalue())
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in index.items())
    write(SCENES / "sprites.json", f"{{\n{lines}\n}}\n".encode())
    write(SCENES / "LICENSE.glyphs", licence(copyright_file).encode())
    click.echo(f"{len(concepts)} concepts, {len(sprites)} sprites, {buffer.tell() / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
