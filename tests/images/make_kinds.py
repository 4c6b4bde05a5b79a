#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/images/kinds: small files of every kind that a reader meets, and what Pillow makes of each.

NAME.png or NAME.jpg, and beside it NAME.rgb.png, what Image.open(NAME).convert("RGB") gives, or NAME.upright.png, the
same behind ImageOps.exif_transpose. In refused/ is what Pillow refuses, and damage that it lets pass. Needs numpy, pillow,
opencv-python-headless (sampling factors) and cjpeg of libjpeg-turbo (arithmetic coding). The files that are committed
come from Pillow 13.0 with its libjpeg-turbo 3.2; Pillow 9.4 with libjpeg-turbo 2.1.5 reads the same bytes.
"""
import io
import pathlib
import struct
import subprocess
import zlib

import cv2
import numpy as np
from PIL import Image, ImageOps

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "data" / "images" / "kinds"
WIDTH, HEIGHT = 37, 27  # no multiple of a block
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
RGB = np.stack([X * 6, Y * 9, (X + Y) * 4], -1).astype(np.uint8)
PHOTO = Image.fromarray(RGB)
CMYK = Image.fromarray(np.stack([X * 6, Y * 9, (X + Y) * 3, np.where(X < 18, 0, Y * 5)], -1).astype(np.uint8), "CMYK")


def save_png(path, pixels):
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, optimize=True)


def put(name, data, expected=None):
    (FOLDER / name).write_bytes(data)
    if expected is None:
        expected = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    save_png(FOLDER / (name + ".rgb.png"), expected)


def refuse(name, data, pillow_reads=False):
    try:
        Image.open(io.BytesIO(data)).convert("RGB")
        assert pillow_reads, name
    except (OSError, SyntaxError, ValueError):
        assert not pillow_reads, name
    (FOLDER / "refused" / name).write_bytes(data)


# ---- PNG ------------------------------------------------------------------------------------------------------------

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name, data, crc_flip=0):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) ^ crc_flip)


def header(width, height, depth, color, interlaced=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))


def rows(array):
    return b"".join(b"\0" + row.tobytes() for row in array)


def png(array, depth, color, extra=b"", behind=b"", width=None):
    height, columns = array.shape[:2]
    data = chunk(b"IDAT", zlib.compress(rows(array), 9))
    return SIGNATURE + header(width or columns, height, depth, color) + extra + data + behind + chunk(b"IEND", b"")


def adam7(array):
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    parts = (array[y::dy, x::dx] for x, y, dx, dy in passes)
    data = b"".join(rows(part) for part in parts if part.size)
    height, width = array.shape[:2]
    return SIGNATURE + header(width, height, 8, 2, 1) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def pillow_png(image, **how):
    file = io.BytesIO()
    image.save(file, "PNG", **how)
    return file.getvalue()


def pngs():
    deep = (np.stack([X * 1700, Y * 2300, X * Y * 60], -1) & 0xFFFF).astype(">u2")
    put("rgb16.png", png(deep, 16, 2))
    gray = deep[..., 0]
    upper = np.repeat((gray >> 8).astype(np.uint8)[..., None], 3, -1)
    put("gray16.png", png(gray, 16, 0), upper)  # Pillow cuts off at 255
    put("gray_alpha16.png", png(np.stack([gray, deep[..., 1]], -1).astype(">u2"), 16, 4))
    put("gray_alpha.png", pillow_png(Image.fromarray(np.stack([RGB[..., 0], 255 - RGB[..., 1]], -1), "LA")))
    alpha = np.concatenate([RGB, (X * 6).astype(np.uint8)[..., None]], -1)
    put("rgba.png", pillow_png(Image.fromarray(alpha, "RGBA")))
    put("rgba16.png", png(np.concatenate([deep, deep[..., :1]], -1).astype(">u2"), 16, 6))
    put("palette4_trns.png", pillow_png(PHOTO.quantize(13), transparency=0, bits=4))
    put("palette_trns.png", pillow_png(PHOTO.quantize(200), transparency=bytes(range(200))))
    put("palette1.png", pillow_png(PHOTO.quantize(2), bits=1))
    put("palette2.png", pillow_png(PHOTO.quantize(4), bits=2))
    indices = (X % 6).astype(np.uint8)
    put("palette_short.png", png(indices, 8, 3, chunk(b"PLTE", bytes(range(60, 69)))))
    put("bilevel.png", pillow_png(PHOTO.convert("1")))
    put("gray2_trns.png", png(np.frombuffer(b"\x1b", np.uint8)[None], 2, 0, chunk(b"tRNS", b"\0\1"), width=4))
    put("gray4.png", png(((X[:, ::2] % 16) * 16 + Y[:, ::2] % 16).astype(np.uint8), 4, 0, width=WIDTH))
    put("rgb_trns.png", png(RGB, 8, 2, chunk(b"tRNS", struct.pack(">HHH", 0, 0, 0))))
    put("adam7.png", adam7(RGB))
    put("adam7_1x1.png", adam7(RGB[:1, :1]))
    put("adam7_2x3.png", adam7(RGB[:2, :3]))
    red, blue = Image.new("RGB", (20, 10), (255, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 255))
    put("apng.png", pillow_png(red, save_all=True, append_images=[blue], duration=100))
    put("apng_default.png", pillow_png(red, save_all=True, append_images=[blue], default_image=True), np.array(red))
    put("gamma.png", png(RGB, 8, 2, chunk(b"gAMA", struct.pack(">I", 100000))))
    put("srgb_profile_broken.png", png(RGB, 8, 2, chunk(b"iCCP", b"x\0\0not a profile")))
    put("text_large.png", png(RGB, 8, 2, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 100000))))
    whole = png(RGB, 8, 2)
    put("no_iend.png", whole[:-12])
    put("behind_iend.png", whole + b"film" * 100)
    put("crc_behind_pixels.png", png(RGB, 8, 2, behind=chunk(b"tEXt", b"a\0b", 1)))
    data = zlib.compress(rows(RGB), 9)
    parts = b"".join(chunk(b"IDAT", data[i : i + 7]) for i in range(0, len(data), 7))
    begin, end = SIGNATURE + header(WIDTH, HEIGHT, 8, 2), chunk(b"IEND", b"")
    put("many_idat.png", begin + parts + end)
    put("more_in_idat.png", begin + chunk(b"IDAT", data + b"more") + end)

    refuse("crc_ihdr.png", whole[:32] + bytes([whole[32] ^ 1]) + whole[33:])
    refuse("crc_text.png", png(RGB, 8, 2, chunk(b"tEXt", b"a\0b", 1)))
    wrong = data[:-1] + bytes([data[-1] ^ 1])
    refuse("adler.png", begin + chunk(b"IDAT", wrong) + end)
    split = chunk(b"IDAT", wrong[:-2]) + chunk(b"IDAT", wrong[-2:])
    refuse("adler_split.png", begin + split + end, pillow_reads=True)
    refuse("crc_idat.png", begin + chunk(b"IDAT", data, 1) + end, pillow_reads=True)
    refuse("cut.png", whole[: len(whole) // 2])
    refuse("no_idat.png", begin + end)
    refuse("few_rows.png", begin + chunk(b"IDAT", zlib.compress(rows(RGB[:-1]))) + end, pillow_reads=True)
    refuse("color_type_1.png", SIGNATURE + header(WIDTH, HEIGHT, 8, 1) + chunk(b"IDAT", data) + end)
    refuse("filter_5.png", begin + chunk(b"IDAT", zlib.compress(b"\5" + rows(RGB)[1:])) + end)
    refuse("line_ends.png", whole.replace(b"\r\n", b"\n", 1))
    refuse("zero_width.png", SIGNATURE + header(0, HEIGHT, 8, 2) + chunk(b"IDAT", data) + end)
    bomb = SIGNATURE + header(13000, 13000, 8, 2) + chunk(b"IDAT", data) + end
    refuse("header_bomb.png", bomb)
    bgra = np.zeros((2, 2, 4), np.uint8)
    bgra[..., 2:] = 255  # red
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = deflate.compress(rows(bgra)) + deflate.flush()
    mark = chunk(b"CgBI", bytes.fromhex("50002002"))
    refuse("cgbi.png", SIGNATURE + mark + header(2, 2, 8, 6) + chunk(b"IDAT", raw) + end)
    refuse("cgbi_tail.png", SIGNATURE + mark + header(2, 2, 8, 6) + chunk(b"IDAT", raw + b"tail") + end)
    refuse("cgbi_behind_ihdr.png", SIGNATURE + header(2, 2, 8, 6) + mark + chunk(b"IDAT", raw) + end)
    refuse("cgbi_zlib.png", SIGNATURE + mark + header(2, 2, 8, 6) + chunk(b"IDAT", zlib.compress(rows(bgra))) + end,
           pillow_reads=True)


# ---- JPEG -----------------------------------------------------------------------------------------------------------


def jpeg(image, **how):
    file = io.BytesIO()
    image.save(file, "JPEG", **({"quality": 90} | how))
    return file.getvalue()


def segments(data):
    """(marker, begin, end) of each, up to the scan's header."""
    i = 2
    while True:
        end = i + 2 + int.from_bytes(data[i + 2 : i + 4], "big")
        yield data[i + 1], i, end
        if data[i + 1] == 0xDA:
            return
        i = end


def without(data, marker):
    for found, begin, end in reversed(list(segments(data))):
        if found == marker:
            data = data[:begin] + data[end:]
    return data


def with_transform(data, transform):
    """With Adobe's marker, which names the colors: 0 RGB or CMYK, 1 YCbCr, 2 YCCK."""
    data = without(data, 0xEE)
    return data[:2] + bytes.fromhex("FFEE000E41646F6265006400000000") + bytes([transform]) + data[2:]


def with_ids(data, names):
    data = bytearray(data)
    for marker, begin, _ in list(segments(bytes(data))):
        for k, name in enumerate(names):
            if marker in (0xC0, 0xC2):
                data[begin + 10 + 3 * k] = name
            if marker == 0xDA:
                data[begin + 5 + 2 * k] = name
    return bytes(data)


def cjpeg(*arguments):
    ppm = b"P6 %d %d 255\n" % (WIDTH, HEIGHT) + RGB.tobytes()
    return subprocess.run(["cjpeg", "-quality", "90", *arguments], input=ppm, capture_output=True, check=True).stdout


def jpegs():
    how = dict(
        base={}, progressive=dict(progressive=True), s444=dict(subsampling=0), s422=dict(subsampling=1),
        s420=dict(subsampling=2), optimized=dict(optimize=True), restarts=dict(restart_marker_blocks=1),
    )  # fmt: skip
    for name, options in how.items():
        put(f"{name}.jpg", jpeg(PHOTO, **options))
    for factor in (411, 420, 422, 440, 444):
        for progressive in (0, 1):
            options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{factor}"),
                       cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_QUALITY, 95]  # fmt: skip
            put(f"cv{factor}_{progressive}.jpg", cv2.imencode(".jpg", RGB[..., ::-1], options)[1].tobytes())
    gray = PHOTO.convert("L")
    put("gray.jpg", jpeg(gray))
    put("gray_progressive.jpg", jpeg(gray, progressive=True))
    put("gray_adobe0.jpg", with_transform(without(jpeg(gray), 0xE0), 0))

    four = jpeg(CMYK)
    plain = without(four, 0xEE)
    put("cmyk_adobe0.jpg", four)
    put("ycck_adobe2.jpg", with_transform(four, 2))
    put("cmyk_adobe1.jpg", with_transform(four, 1))  # a transform that four components do not have
    put("cmyk_no_marker.jpg", plain)
    put("cmyk_no_marker_progressive.jpg", without(jpeg(CMYK, progressive=True), 0xEE))
    put("cmyk_jfif.jpg", plain[:2] + bytes.fromhex("FFE000104A46494600010100000100010000") + plain[2:])
    put("cmyk_ids.jpg", with_ids(plain, b"CMYK"))

    three = jpeg(PHOTO)
    bare = without(three, 0xE0)
    put("ycc_no_jfif.jpg", bare)
    put("ycc_ids_012.jpg", with_ids(three, bytes([0, 1, 2])))
    put("ycc_ids_012_no_jfif.jpg", with_ids(bare, bytes([0, 1, 2])))
    put("ycc_ids_odd.jpg", with_ids(bare, bytes([34, 35, 36])))
    put("ycc_ids_rgb_small.jpg", with_ids(bare, b"rgb"))
    put("rgb_adobe0.jpg", with_transform(bare, 0))
    put("rgb_adobe0_jfif.jpg", with_transform(three, 0))
    put("rgb_ids.jpg", with_ids(bare, b"RGB"))
    put("rgb_ids_jfif.jpg", with_ids(three, b"RGB"))
    put("rgb_kept.jpg", jpeg(PHOTO, keep_rgb=True, subsampling=0))
    put("arithmetic.jpg", cjpeg("-arithmetic"))
    put("arithmetic_progressive.jpg", cjpeg("-arithmetic", "-progressive"))
    put("motion.jpg", without(jpeg(PHOTO, subsampling=1), 0xC4))

    put("trailing.jpg", three + b"\0" * 500)
    put("fill.jpg", three[:2] + b"\xff\xff\xff" + three[2:])
    put("junk_between.jpg", three[:20] + b"junk" + three[20:])
    thumbnail = b"Exif\0\0" + three[:400]
    put("thumbnail.jpg", three[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + three[2:])
    put("two_pictures.jpg", three + three)
    put("one_pixel.jpg", jpeg(PHOTO.crop((0, 0, 1, 1))))

    refuse("cut.jpg", three[: len(three) * 2 // 3])
    refuse("no_end.jpg", three[:-2])
    refuse("cut_progressive.jpg", jpeg(PHOTO, progressive=True)[:-10])
    refuse("no_tables.jpg", without(three, 0xDB))
    refuse("bits12.jpg", three.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"))
    refuse("hierarchical.jpg", three.replace(b"\xff\xc0\0\x11", b"\xff\xc5\0\x11"))
    refuse("no_height.jpg", three.replace(struct.pack(">BHH", 8, HEIGHT, WIDTH), struct.pack(">BHH", 8, 0, WIDTH)))
    two = bytes.fromhex("ffc0000e080010001002011100021100")
    bare = without(three, 0xC0)
    scan = next(begin for marker, begin, _ in segments(bare) if marker == 0xDA)
    refuse("two_components.jpg", bare[:scan] + two + bytes.fromhex("ffda000a02010002003f00") + bare[scan + 14 :])


# ---- How the camera was held ----------------------------------------------------------------------------------------


def tiff(orientation, order, kind=3):
    value = struct.pack(order + {1: "B3x", 3: "H2x", 4: "I"}[kind], orientation)
    return (b"II" if order == "<" else b"MM") + struct.pack(order + "HIHHHI", 42, 8, 1, 0x112, kind, 1) + value + b"\0" * 4


def app1(data):
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data


def put_upright(name, data):
    (FOLDER / name).write_bytes(data)
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    save_png(FOLDER / (name + ".upright.png"), np.array(picture))


def orientations():
    whole = jpeg(PHOTO, subsampling=0)
    held = {f"held{o}_{'le' if order == '<' else 'be'}": tiff(o, order) for o in range(1, 9) for order in "<>"}
    held |= {"held6_long": tiff(6, ">", 4), "held6_byte": tiff(6, "<", 1), "held0": tiff(0, "<"), "held9": tiff(9, ">")}
    held |= {"held_cut": tiff(6, "<")[:16], "held_empty": b""}
    for name, exif in held.items():
        put_upright(f"{name}.jpg", whole[:2] + app1(b"Exif\0\0" + exif) + whole[2:])
    for orientation in (3, 5, 6, 8):
        exif = chunk(b"eXIf", tiff(orientation, ">"))
        put_upright(f"held{orientation}.png", png(RGB, 8, 2, exif))
        put_upright(f"held{orientation}_behind.png", png(RGB, 8, 2, behind=exif))
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    put_upright("held6_xmp.jpg", whole[:2] + app1(b"http://ns.adobe.com/xap/1.0/\0" + xmp) + whole[2:])
    put_upright("held6_xmp.png", png(RGB, 8, 2, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)))


def main():
    (FOLDER / "refused").mkdir(parents=True, exist_ok=True)
    for old in [*FOLDER.glob("*.*"), *(FOLDER / "refused").glob("*.*")]:
        old.unlink()
    pngs()
    jpegs()
    orientations()


if __name__ == "__main__":
    main()
