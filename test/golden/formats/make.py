"""Makes cases.json: small pictures in many formats, and what PIL's Image.open(f).convert("RGB") makes of each.

    pip install pillow numpy tifffile imagecodecs && python make.py > cases.json

`rgb` is the SHA-256 of the pixels in rows; null where PIL itself refuses the file. What PIL cannot write is put together
here: GIFs from their codes, BMPs from their headers, TIFFs with tifffile.
"""
import base64
import hashlib
import io
import json
import struct
import sys
import zlib

import imagecodecs
import numpy as np
import PIL
import tifffile
from PIL import Image

W, H = 23, 17
rng = np.random.default_rng(7)
y, x = np.mgrid[0:H, 0:W]
RGB = np.stack([x * 11, y * 15, (x * 7 + y * 13) % 256], -1).astype(np.uint8)
RGB[3:9, 5:12] = rng.integers(0, 256, (6, 7, 3))
GREY = RGB[..., 2].copy()
ALPHA = ((x * 19 + y * 5) % 256).astype(np.uint8)
INDEX = ((x // 3 + y // 2) % 12).astype(np.uint8)
PALETTE = [(i * 15 + 3, 255 - i * 17, (i * 91) % 256) for i in range(16)]
rgb, grey = Image.fromarray(RGB), Image.fromarray(GREY)
rgba = Image.fromarray(np.dstack([RGB, ALPHA]))
paletted = Image.fromarray(INDEX).copy()
paletted = paletted.convert("P")
paletted.putdata(INDEX.reshape(-1).tolist())
paletted.putpalette([v for colour in PALETTE for v in colour])
cases = []


def case(name, data, ext):
    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = image.convert("RGB")
        size, digest = pixels.size, hashlib.sha256(pixels.tobytes()).hexdigest()
    except Exception as error:
        size, digest = (0, 0), None
        print(f"{name}: PIL refuses: {type(error).__name__} {error}", file=sys.stderr)
    file = base64.b64encode(data).decode()
    cases.append({"name": name, "ext": ext, "width": size[0], "height": size[1], "rgb": digest, "file": file})
    if ext == "avif":
        cases[-1]["pixels"] = base64.b64encode(zlib.compress(pixels.tobytes(), 9)).decode()


def saved(name, image, format, ext=None, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    case(name, out.getvalue(), ext or format.lower())
    return out.getvalue()


# GIF


def lzw(indices, bits):
    """Codes with the table in use, and a clear code where it is full."""
    clear, out, acc, count = 1 << bits, bytearray(), 0, 0

    def put(code, width):
        nonlocal acc, count
        acc |= code << count
        count += width
        while count >= 8:
            out.append(acc & 255)
            acc >>= 8
            count -= 8

    table, width = {(i,): i for i in range(clear)}, bits + 1
    put(clear, width)
    now = ()
    for index in indices:
        if now + (index,) in table:
            now += (index,)
            continue
        put(table[now], width)
        if len(table) + 2 < 4096:
            table[now + (index,)] = len(table) + 2
            if len(table) + 2 > (1 << width) and width < 12:
                width += 1
        else:
            put(clear, width)
            table, width = {(i,): i for i in range(clear)}, bits + 1
        now = (index,)
    put(table[now], width)
    put(clear + 1, width)
    if count:
        out.append(acc & 255)
    return bytes([bits]) + b"".join(bytes([len(out[i : i + 255])]) + out[i : i + 255] for i in range(0, len(out), 255)) + b"\0"


def table(colours):
    size = max(1, (len(colours) - 1).bit_length())
    return size - 1, bytes(v for c in list(colours) + [(0, 0, 0)] * ((1 << size) - len(colours)) for v in c)


def gif_frame(index, at=(0, 0), local=None, transparent=None, interlaced=False, dispose=0, bits=4):
    h, w = index.shape
    out = b""
    if transparent is not None or dispose:
        out += b"!\xf9\x04" + bytes([dispose << 2 | (transparent is not None), 5, 0, transparent or 0]) + b"\0"
    flags, colours = 0, b""
    if local is not None:
        n, colours = table(local)
        flags = 0x80 | n
    rows = [*range(0, h, 8), *range(4, h, 8), *range(2, h, 4), *range(1, h, 2)] if interlaced else range(h)
    out += b"," + struct.pack("<HHHH", *at, w, h) + bytes([flags | (0x40 if interlaced else 0)]) + colours
    return out + lzw([int(v) for row in rows for v in index[row]], bits)


def gif(frames, size=(W, H), palette=PALETTE, background=0, before=b""):
    flags, colours = 0, b""
    if palette is not None:
        n, colours = table(palette)
        flags = 0x80 | n
    return b"GIF89a" + struct.pack("<HH", *size) + bytes([flags, background, 0]) + colours + before + b"".join(frames) + b";"


grey_palette = [(i, i, i) for i in range(16)]
small = INDEX[2:12, 4:15]
noise = rng.integers(0, 16, (70, 90)).astype(np.uint8)
for name, data in {
    "gif plain": gif([gif_frame(INDEX)]),
    "gif transparent": gif([gif_frame(INDEX, transparent=3)]),
    "gif transparent, colour 0": gif([gif_frame(INDEX, transparent=0)]),
    "gif transparent beyond the palette": gif([gif_frame(small, (3, 2), transparent=200)]),
    "gif frame smaller": gif([gif_frame(small, (5, 4))], background=7),
    "gif frame smaller, transparent": gif([gif_frame(small, (5, 4), transparent=6)], background=7),
    "gif frame larger": gif([gif_frame(INDEX)], size=(9, 30)),
    "gif frame beyond the edge": gif([gif_frame(small, (20, 11))]),
    "gif screen of no size": gif([gif_frame(INDEX)], size=(0, 0)),
    "gif interlaced": gif([gif_frame(INDEX, interlaced=True)]),
    "gif interlaced, few rows": gif([gif_frame(INDEX[:3], interlaced=True)], size=(W, 3)),
    "gif local palette": gif([gif_frame(INDEX, local=PALETTE[::-1])]),
    "gif local palette alone": gif([gif_frame(INDEX, local=PALETTE[::-1])], palette=None),
    "gif local palette of greys": gif([gif_frame(INDEX, local=grey_palette)]),
    "gif local palette of greys alone": gif([gif_frame(INDEX, local=grey_palette)], palette=None),
    "gif palette of greys": gif([gif_frame(INDEX)], palette=grey_palette),
    "gif no palette": gif([gif_frame(INDEX, transparent=2)], palette=None),
    "gif no palette, smaller": gif([gif_frame(small, (5, 4), transparent=9)], palette=None),
    "gif short palette": gif([gif_frame(INDEX)], palette=PALETTE[:4]),
    "gif two colours": gif([gif_frame(INDEX % 2, bits=2)], palette=PALETTE[3:5]),
    "gif eight bits": gif([gif_frame((GREY // 2 * 2), bits=8)], palette=[(i, 255 - i, i // 2) for i in range(256)]),
    "gif full table": gif([gif_frame(noise)], size=(90, 70)),
    "gif animated": gif([gif_frame(INDEX, dispose=2), gif_frame(small, (2, 2), transparent=1)]),
    "gif disposed to what was before": gif([gif_frame(small, (2, 2), dispose=3, transparent=5), gif_frame(INDEX)]),
    "gif comment and application": gif([gif_frame(INDEX)], before=b"!\xfe\x05hello\0!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"),
    "gif bytes between": gif([gif_frame(INDEX)], before=b"\0\0"),
    "gif no trailer": gif([gif_frame(INDEX)])[:-1],
    "gif cut": gif([gif_frame(INDEX)])[:-60],
    "gif no frame": gif([]),
}.items():
    case(name, data, "gif")
saved("gif of PIL, animated", paletted, "GIF", save_all=True, append_images=[paletted.rotate(90)], transparency=2)

# BMP


def bmp(bits, rows, width=W, height=H, colours=b"", compression=0, masks=b"", header=40, used=0):
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(rows), 2835, 2835, used, 0)
    body = info + (masks + b"\0" * header)[: header - 40] if header > 40 else info + masks
    offset = 14 + len(body) + len(colours)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + body + colours + rows


def lines(array):
    return b"".join(row.tobytes() + b"\0" * (-len(row.tobytes()) % 4) for row in array[::-1])


bgr0 = lambda colours: b"".join(bytes([b, g, r, 0]) for r, g, b in colours)
bgr = RGB[..., ::-1].copy()
nibbles = np.packbits(np.unpackbits(np.pad(INDEX, ((0, 0), (0, 1)))[..., None], axis=2)[..., 4:].reshape(H, -1), axis=1)
pairs = np.pad(INDEX % 4, ((0, 0), (0, 1)))
bit = np.packbits(INDEX % 2, axis=1)
x555 = (RGB[..., 0].astype("<u2") >> 3) << 10 | (RGB[..., 1].astype("<u2") >> 3) << 5 | RGB[..., 2] >> 3
x565 = (RGB[..., 0].astype("<u2") >> 3) << 11 | (RGB[..., 1].astype("<u2") >> 2) << 5 | RGB[..., 2] >> 3
bgra = np.dstack([bgr, ALPHA])
m4 = lambda *masks: struct.pack("<IIII", *masks)
rle8 = b"".join(bytes([n, v]) for n, v in [(10, 1), (13, 2)]) + b"\0\0" + b"\0\x05\x01\x02\x03\x04\x05\0" + bytes([3, 9]) + b"\0\0" + b"\0\x02\x04\x03" + bytes([6, 7]) + b"\0\x01"
rle4 = bytes([9, 0x12, 14, 0x34]) + b"\0\0" + b"\0\x07\x12\x34\x56\x70" + bytes([4, 0xAB]) + b"\0\0" + b"\0\x01"
for name, data in {
    "bmp 24": bmp(24, lines(bgr)),
    "bmp 24 top down": bmp(24, lines(bgr[::-1]), height=-H),
    "bmp 32": bmp(32, lines(bgra)),
    "bmp 32 v4": bmp(32, lines(bgra), header=108),
    "bmp 32 masks": bmp(32, lines(bgra), compression=3, masks=m4(0xFF0000, 0xFF00, 0xFF, 0)[:12]),
    "bmp 32 masks with alpha, v5": bmp(32, lines(bgra), compression=3, header=124, masks=m4(0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "bmp 32 masks rgba, v4": bmp(32, lines(bgra), compression=3, header=108, masks=m4(0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
    "bmp 32 masks abgr, v4": bmp(32, lines(bgra), compression=3, header=108, masks=m4(0xFF000000, 0xFF0000, 0xFF00, 0xFF)),
    "bmp 32 masks xbgr, v3": bmp(32, lines(bgra), compression=3, header=56, masks=m4(0xFF000000, 0xFF0000, 0xFF00, 0)),
    "bmp 32 masks none, v4": bmp(32, lines(bgra), compression=3, header=108, masks=m4(0, 0, 0, 0)),
    "bmp 32 masks odd": bmp(32, lines(bgra), compression=3, masks=m4(0xFFC00000, 0x3FF000, 0xFFC, 0)[:12]),
    "bmp 16": bmp(16, lines(x555)),
    "bmp 16 565": bmp(16, lines(x565), compression=3, masks=m4(0xF800, 0x7E0, 0x1F, 0)[:12]),
    "bmp 16 555 masks": bmp(16, lines(x555), compression=3, masks=m4(0x7C00, 0x3E0, 0x1F, 0)[:12]),
    "bmp 16 4444": bmp(16, lines(x555), compression=3, masks=m4(0xF00, 0xF0, 0xF, 0)[:12]),
    "bmp 8": bmp(8, lines(INDEX), colours=bgr0(PALETTE + [(0, 0, 9)] * 240)),
    "bmp 8, 16 colours": bmp(8, lines(INDEX), colours=bgr0(PALETTE), used=16),
    "bmp 8, too few colours": bmp(8, lines(INDEX), colours=bgr0(PALETTE[:6]), used=6),
    "bmp 8 grey": bmp(8, lines(GREY), colours=bgr0([(i, i, i) for i in range(256)])),
    "bmp 8 grey, few": bmp(8, lines(GREY), colours=bgr0([(i, i, i) for i in range(40)]), used=40),
    "bmp 8 header v5": bmp(8, lines(INDEX), colours=bgr0(PALETTE), used=16, header=124),
    "bmp 4": bmp(4, lines(nibbles), colours=bgr0(PALETTE)),
    "bmp 4 grey": bmp(4, lines(nibbles), colours=bgr0([(i, i, i) for i in range(16)])),
    "bmp 1": bmp(1, lines(bit), colours=bgr0(PALETTE[4:6])),
    "bmp 1 black and white": bmp(1, lines(bit), colours=bgr0([(0, 0, 0), (255, 255, 255)])),
    "bmp 1 white and black": bmp(1, lines(bit), colours=bgr0([(255, 255, 255), (0, 0, 0)])),
    "bmp rle8": bmp(8, rle8, height=4, colours=bgr0(PALETTE), used=16, compression=1),
    "bmp rle4": bmp(4, rle4, height=3, colours=bgr0(PALETTE), compression=2),
    "bmp png inside": bmp(24, b"\x89PNG", compression=5),
    "bmp 2": bmp(2, lines(np.zeros((H, 6), np.uint8)), colours=bgr0(PALETTE[:4])),
    "bmp cut": bmp(24, lines(bgr))[:-100],
    "bmp header cut": bmp(24, lines(bgr))[:30],
    "bmp os/2": b"BM" + struct.pack("<IHHI", 0, 0, 0, 26) + struct.pack("<IHHHH", 12, W, H, 1, 24) + lines(bgr),
    "bmp os/2, 4": b"BM" + struct.pack("<IHHI", 0, 0, 0, 26 + 48) + struct.pack("<IHHHH", 12, W, H, 1, 4) + bytes(v for r, g, b in PALETTE for v in (b, g, r)) + lines(nibbles),
}.items():
    case(name, data, "bmp")
for mode in ["1", "L", "P", "RGB", "RGBA"]:
    saved(f"bmp of PIL, {mode}", paletted if mode == "P" else rgba.convert(mode), "BMP")

# TIFF

wide = (RGB.astype(np.uint16) * 257 + ALPHA[..., None]).astype(np.uint16)
for mode in ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"]:
    image = paletted if mode == "P" else grey.convert("I").point(lambda v: v * 3).convert(mode) if mode in ("I;16", "I") else rgba.convert("RGB").convert("LAB") if mode == "LAB" else rgba.convert(mode)
    for compression in [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"] if mode in ("L", "RGB", "P") else [None, "tiff_lzw"]:
        try:
            saved(f"tiff {mode} {compression}", image, "TIFF", "tif", compression=compression)
        except Exception as error:
            print(f"tiff {mode} {compression}: not written: {error}", file=sys.stderr)
saved("tiff group4", rgb.convert("1"), "TIFF", "tif", compression="group4")
saved("tiff group3", rgb.convert("1"), "TIFF", "tif", compression="group3")
saved("tiff jpeg", rgb, "TIFF", "tif", compression="jpeg")
saved("tiff jpeg grey", grey, "TIFF", "tif", compression="jpeg")
saved("tiff pages", rgb, "TIFF", "tif", save_all=True, append_images=[grey])
for orientation in range(1, 9):
    saved(f"tiff orientation {orientation}", rgb, "TIFF", "tif", tiffinfo={274: orientation})


saved("tiff predictor", rgb, "TIFF", "tif", compression="tiff_lzw", tiffinfo={317: 2})
saved("tiff predictor, deflate", rgb, "TIFF", "tif", compression="tiff_adobe_deflate", tiffinfo={317: 2})
for bits in (1, 2, 4):
    packed = np.packbits(np.unpackbits((INDEX % (1 << bits)).astype(np.uint8)[..., None], axis=2)[..., 8 - bits :].reshape(H, -1), axis=1)
    for photometric in (0, 1, 3):
        ramp = [v * 257 for c in range(3) for v in ([p[c] for p in PALETTE] * 2)[: 1 << bits]]
        tags = [(256, 3, [W]), (257, 3, [H]), (258, 3, [bits]), (259, 3, [1]), (262, 3, [photometric]), (273, 4, [0]), (277, 3, [1]), (278, 3, [H]), (279, 4, [packed.nbytes])]
        tags += [(320, 3, ramp)] if photometric == 3 else []
        ends, extra = 8 + 2 + 12 * len(tags) + 4, b""
        tags[5] = (273, 4, [ends + 2 * len(ramp)])
        body = struct.pack("<H", len(tags))
        for tag, kind, values in tags:
            form = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
            body += struct.pack("<HHI", tag, kind, len(values)) + (form.ljust(4, b"\0") if len(form) <= 4 else struct.pack("<I", ends + len(extra)))
            extra += form if len(form) > 4 else b""
        data = b"II*\0" + struct.pack("<I", 8) + body + b"\0\0\0\0" + extra.ljust(2 * len(ramp), b"\0") + packed.tobytes()
        case(f"tiff {bits} bits, colours {photometric}", data, "tif")


def tiff(name, array, **options):
    out = io.BytesIO()
    tifffile.imwrite(out, array, **options)
    case(name, out.getvalue(), "tif")


tiff("tiff 16 rgb", wide, photometric="rgb")
tiff("tiff 16 rgb, big-endian", wide, photometric="rgb", byteorder=">")
tiff("tiff 16 rgba", np.dstack([wide, wide[..., 0]]), photometric="rgb", extrasamples=["unassalpha"])
tiff("tiff 16 grey", wide[..., 0], photometric="minisblack")
tiff("tiff 16 grey, big-endian", wide[..., 0] // 200, photometric="minisblack", byteorder=">")
tiff("tiff 16 grey, white is zero", wide[..., 0] // 200, photometric="miniswhite")
tiff("tiff grey, white is zero", GREY, photometric="miniswhite")
tiff("tiff float", GREY.astype(np.float32), photometric="minisblack")
tiff("tiff float of 1", GREY.astype(np.float32) / 255, photometric="minisblack")
tiff("tiff float of halves", (GREY * 1.37 - 40).astype(np.float32), photometric="minisblack")
tiff("tiff float with NaN", np.where(GREY % 7 == 0, np.nan, GREY).astype(np.float32), photometric="minisblack")
tiff("tiff float beyond", np.where(GREY % 7 == 0, np.inf, GREY * -1e12).astype(np.float32), photometric="minisblack")
tiff("tiff uint32", GREY.astype(np.uint32) * 3, photometric="minisblack")
tiff("tiff int8", GREY.astype(np.int8), photometric="minisblack")
tiff("tiff int16", GREY.astype(np.int16) * 5 - 100, photometric="minisblack")
tiff("tiff int32", GREY.astype(np.int32) * 3 - 100, photometric="minisblack")
tiff("tiff planes", np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate")
tiff("tiff tiles", RGB, photometric="rgb", tile=(16, 16))
tiff("tiff strips", RGB, photometric="rgb", rowsperstrip=3)
tiff("tiff bigtiff", RGB, photometric="rgb", bigtiff=True)
tiff("tiff big-endian", RGB, photometric="rgb", byteorder=">")
tiff("tiff associated alpha", np.dstack([RGB // 2, ALPHA | 128]), photometric="rgb", extrasamples=["assocalpha"])
tiff("tiff alpha", np.dstack([RGB, ALPHA]), photometric="rgb", extrasamples=["unassalpha"])
tiff("tiff extra", np.dstack([RGB, ALPHA]), photometric="rgb", extrasamples=["unspecified"])
tiff("tiff double", GREY.astype(np.float64), photometric="minisblack")
out = io.BytesIO()
rgb.save(out, "TIFF")
case("tiff cut", out.getvalue()[:-300], "tif")

# AVIF

big = Image.fromarray(np.kron(RGB, np.ones((3, 3, 1), np.uint8))[: H * 3 - 1])
for subsampling in ["4:4:4", "4:2:2", "4:2:0"]:
    saved(f"avif {subsampling}", big, "AVIF", subsampling=subsampling, quality=80)
saved("avif full", big, "AVIF", quality=100, subsampling="4:4:4", range="full")
saved("avif limited", big, "AVIF", quality=90, subsampling="4:4:4", range="limited")
saved("avif grey", big.convert("L"), "AVIF", quality=90, subsampling="4:0:0")
saved("avif alpha", rgba, "AVIF", quality=90)
saved("avif animated", big, "AVIF", quality=80, save_all=True, append_images=[big.rotate(180)])
exif = Image.Exif()
exif[274] = 6
saved("avif orientation", big, "AVIF", quality=80, exif=exif)

for bits in (10, 12):
    deep = np.kron(np.random.default_rng(0).integers(0, 1 << bits, (10, 10, 3)).astype(np.uint16), np.ones((4, 4, 1), np.uint16))
    case(f"avif {bits} bits", imagecodecs.avif_encode(deep, level=95, bitspersample=bits), "avif")

# PNG


def chunks(data):
    at = 8
    while at < len(data):
        n = struct.unpack(">I", data[at : at + 4])[0]
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + n]
        at += 12 + n


def png(parts, bad=()):
    out = b"\x89PNG\r\n\x1a\n"
    for i, (kind, body) in enumerate(parts):
        crc = zlib.crc32(kind + body) ^ (1 if i in bad else 0)
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)
    return out


out = io.BytesIO()
rgb.save(out, "PNG")
head, *idat, end = list(chunks(out.getvalue()))
text, phys = (b"tEXt", b"Comment\0hello"), (b"pHYs", struct.pack(">IIB", 2835, 2835, 1))
split = [(b"IDAT", idat[0][1][:200]), (b"IDAT", idat[0][1][200:])]
for name, data in {
    "png crc of text before the pixels": png([head, text, *idat, end], bad=[1]),
    "png crc of pHYs before the pixels": png([head, phys, *idat, end], bad=[1]),
    "png crc of text behind the pixels": png([head, *idat, text, end], bad=[2]),
    "png crc of an unknown chunk behind the pixels": png([head, *idat, (b"prVt", b"x"), end], bad=[2]),
    "png crc of time behind the pixels": png([head, *idat, (b"tIME", struct.pack(">HBBBBB", 2026, 1, 1, 1, 1, 1)), end], bad=[2]),
    "png crc of the end": png([head, *idat, end], bad=[2]),
    "png crc of the header": png([head, *idat, end], bad=[0]),
    "png crc of the pixels": png([head, *split, end], bad=[1]),
    "png crc of the last pixels": png([head, *split, end], bad=[2]),
    "png without an end": png([head, *idat]),
    "png bytes behind the end": png([head, *idat, end]) + b"more",
    "png a cut chunk behind the pixels": png([head, *idat, text])[:-6],
    "png a damaged profile": png([head, (b"iCCP", b"x\0\0zzz"), *idat, end]),
    "png a damaged zTXt behind": png([head, *idat, (b"zTXt", b"x\0\0zzz"), end]),
}.items():
    case(name, data, "png")
first = io.BytesIO()
rgb.save(first, "PNG", save_all=True, append_images=[rgb.rotate(180)])
case("png animated", first.getvalue(), "png")
other = io.BytesIO()
rgb.save(other, "PNG", save_all=True, default_image=True, append_images=[rgb.rotate(180), grey.convert("RGB")])
case("png animated with a default picture", other.getvalue(), "png")
for mode in ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]:
    image = paletted if mode == "P" else grey.convert("I").point(lambda v: v * 3).convert(mode) if mode == "I;16" else rgba.convert(mode)
    saved(f"png {mode}", image, "PNG")
for bits in (1, 2, 4):
    saved(f"png palette {bits}", paletted.point(lambda v: v % (1 << bits), "P") if False else paletted.quantize(1 << bits), "PNG", bits=bits)
    packed = np.packbits(np.unpackbits((INDEX % (1 << bits)).astype(np.uint8)[..., None], axis=2)[..., 8 - bits :].reshape(H, -1), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in packed)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", W, H, bits, 0, 0, 0, 0)), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    case(f"png grey {bits}", png(parts), "png")
for name, colour, array in [
    ("rgb", 2, wide),
    ("rgba", 6, np.dstack([wide, wide[..., 1]])),
    ("grey and alpha", 4, np.dstack([wide[..., 0], wide[..., 1]])),
]:
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", W, H, 16, colour, 0, 0, 0)), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    case(f"png 16 {name}", png(parts), "png")
saved("png transparent colour", paletted, "PNG", transparency=3)
saved("png transparent grey", grey, "PNG", transparency=30)
saved("png gamma", rgb, "PNG", icc_profile=None)
case("png gAMA", png([head, (b"gAMA", struct.pack(">I", 22000)), *idat, end]), "png")
passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
raw = b"".join(b"\0" + row.tobytes() for px, py, sx, sy in passes for row in RGB[py::sy, px::sx] if row.size)
adam = [(b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 1)), (b"IDAT", zlib.compress(raw)), end]
case("png interlaced", png(adam), "png")

# WebP and JPEG

saved("webp lossless, alpha", rgba, "WEBP", lossless=True, exact=True)
saved("webp lossy", big, "WEBP", quality=80)
saved("webp lossy, alpha", rgba, "WEBP", quality=80)
saved("webp animated", rgba, "WEBP", save_all=True, append_images=[rgba.rotate(180)], lossless=True, exact=True)
saved("webp animated, lossy", big, "WEBP", save_all=True, append_images=[big.rotate(180)], quality=80)
saved("webp orientation", rgb, "WEBP", lossless=True, exif=exif)
saved("jpeg orientation", big, "JPEG", "jpg", exif=exif)
saved("jpeg progressive", big, "JPEG", "jpg", progressive=True)
saved("png orientation", rgb, "PNG", exif=exif)

json.dump({"pillow": PIL.__version__, "cases": cases}, sys.stdout, indent=1)
print()
