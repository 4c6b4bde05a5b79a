// SPDX-License-Identifier: Apache-2.0
//
// The page: weights, a picture, and what the network says of it. worker.js computes.
import { hasRelaxedSimd } from './efficientvit.js';

const $ = (id) => document.getElementById(id);
const view = $('view'), overlay = $('overlay'), stage = $('stage');
const drawing = view.getContext('2d', { willReadFrequently: true }), above = overlay.getContext('2d');

// ---- The worker -------------------------------------------------------------------------------------------------------

const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
const waiting = new Map();
let calls = 0;

worker.onmessage = ({ data: { id, result, error, progress, milliseconds } }) => {
    const call = waiting.get(id);
    if (progress !== undefined) return call?.onProgress?.(progress);
    waiting.delete(id);
    if (error !== undefined) call.reject(new Error(error));
    else call.resolve({ result, milliseconds });
};
worker.onerror = (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message ?? 'the worker stopped'));
    waiting.clear();
};

function ask(method, given, onProgress) {
    return new Promise((resolve, reject) => {
        waiting.set(++calls, { resolve, reject, onProgress });
        worker.postMessage({ id: calls, method, arguments: given });
    });
}

// ---- What the page knows ----------------------------------------------------------------------------------------------

let info;                // of the network
let hasPicture = false;
let points = [];         // of SAM, in the picture's pixels
let cursor;              // of the keyboard, likewise
let latest = 0;          // the newest run: what older ones give is not shown

const isDigits = () => info?.name === 'digits_b0';
const isGlyphs = () => info?.name === 'glyphs_b0';
const isSam = () => info?.task === 'sam';

const hints = {
    digits_b0: 'Draw a digit, large and white, or drop a picture of one.',
    glyphs_b0: 'Drop a picture of one printed character.',
    sam: 'Click on an object; with Shift or “Clicks exclude”, on what is not part of it. By keyboard: arrows move, Enter clicks. Or drop another picture.',
};

function say(text, isError = false) {
    $('status').textContent = text;
    $('status').className = isError ? 'error' : '';
    document.body.dataset.state = isError ? 'error' : 'ready';
}

async function trying(what, body) {
    document.body.dataset.state = 'busy';
    say(what);
    document.body.dataset.state = 'busy';
    try {
        await body();
    } catch (error) {
        say(error.message, true);
    }
}

const time = (milliseconds) => `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;

// ---- Weights ----------------------------------------------------------------------------------------------------------

async function loadWeights(source, name) {
    await trying(`Loading ${name} …`, async () => {
        $('progress').hidden = false;
        $('progress').removeAttribute('value');
        let milliseconds;
        try {
            ({ result: info, milliseconds } = await ask('load', [source, {}], ({ loaded, total }) => {
                if (total > 0) $('progress').value = loaded / total;
                say(`Loading ${name}: ${(loaded / 1e6).toFixed(1)} MB …`);
            }));
        } catch (error) {
            info = undefined;
            points = [];
            clearAbove();
            $('answer').replaceChildren();
            throw error;
        } finally {
            $('progress').hidden = true;
            for (const button of document.querySelectorAll('[data-weights]')) {
                button.ariaPressed = String(info !== undefined && button.dataset.weights === name);
            }
        }
        stage.className = isDigits() ? 'digits' : isSam() ? 'sam' : '';
        $('clear').hidden = !isDigits() && !isSam();
        $('not').hidden = !isSam();
        $('hint').textContent = hints[info.name] ?? hints[info.task] ?? 'Drop a picture here.';
        say(`${info.name} is loaded, in ${time(milliseconds)}.`);
        if (isDigits() || isGlyphs() || info.name === 'sam_shapes' || !hasPicture) await showExample();
        else await pictureChanged();
    });
}

// ---- Pictures ---------------------------------------------------------------------------------------------------------

/** A new, empty picture. Small ones are shown enlarged, at most threefold, but large enough for a finger. */
function resize(width, height) {
    const scale = Math.max(1, Math.round(512 / Math.max(width, height)));  // so that what is drawn above stays sharp
    [view.width, view.height] = [width, height];
    [overlay.width, overlay.height] = [scale * width, scale * height];
    above.scale(scale, scale);
    stage.style.maxWidth = `${(isDigits() ? 320 : Math.max(320, 3 * width)) + 2}px`;  // with the border
    points = [];
    cursor = { x: Math.round(width / 2), y: Math.round(height / 2) };
}

async function showPicture(source) {
    const bitmap = await createImageBitmap(source).catch(() => {
        throw new Error('this file is no picture that the browser reads');
    });
    if (isDigits()) {
        resize(256, 256);
        drawing.imageSmoothingEnabled = false;
        drawing.drawImage(bitmap, 0, 0, 256, 256);
    } else {
        const scale = Math.min(1, 2048 / Math.max(bitmap.width, bitmap.height));
        resize(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
        drawing.drawImage(bitmap, 0, 0, view.width, view.height);
    }
    bitmap.close();
    await pictureChanged();
}

const shown = { digits: 0, shapes: 0, glyphs: 0 };
let sheet, characters;  // of the glyphs: a Blob, and the character of each class

async function fetched(path) {
    const response = await fetch(path);
    if (!response.ok) throw new Error(`the example is not there: ${response.status}`);
    return response;
}

/** Of the sheet of characters every so many, all of other classes. */
async function glyph(number) {
    sheet ??= await (await fetched('glyphs/held_out.png')).blob();
    const picture = 7 + 203 * number, columns = 40;
    return createImageBitmap(sheet, 64 * (picture % columns), 64 * Math.floor(picture / columns), 64, 64);
}

/** What the network was not trained on: a digit of the data set, a character of the sheet; for others a drawing. */
async function showExample() {
    const kind = isDigits() ? 'digits' : isGlyphs() ? 'glyphs' : 'shapes';
    $('picture').value = '';
    const number = shown[kind]++ % 10;
    await showPicture(kind === 'glyphs' ? await glyph(number) : await (await fetched(`${kind}/${number}.png`)).blob());
}

async function pictureChanged() {
    hasPicture = true;
    clearAbove();
    $('answer').replaceChildren();
    if (info === undefined) return say('Now choose weights.');
    const run = ++latest;
    document.body.dataset.state = 'busy';
    say('Computing …');
    document.body.dataset.state = 'busy';
    try {
        await (isDigits() ? readDigit : { sam: encode, classification: classify, segmentation: segment }[info.task] ?? features)(run);
    } catch (error) {
        say(error.message, true);
    }
}

const pixels = () => drawing.getImageData(0, 0, view.width, view.height);

const clearAbove = () => above.clearRect(0, 0, view.width, view.height);

/** Lays an ImageData of the picture's size over the picture. */
function cover(image) {
    const layer = document.createElement('canvas');
    [layer.width, layer.height] = [image.width, image.height];
    layer.getContext('2d').putImageData(image, 0, 0);
    above.drawImage(layer, 0, 0);
}

// ---- Answers ----------------------------------------------------------------------------------------------------------

function item(label, middle, number) {
    const line = document.createElement('li');
    for (const [text, name] of [[label, ''], ['', ''], [number, 'number']]) {
        const cell = document.createElement('span');
        cell.textContent = text;
        cell.className = name;
        line.append(cell);
    }
    line.children[1].append(middle);
    return line;
}

function list(items) {
    const all = document.createElement('ol');
    all.append(...items);
    $('answer').replaceChildren(all);
}

function bar(share) {
    const out = document.createElement('div');
    out.className = 'bar';
    out.style.width = `${100 * share}%`;
    return out;
}

function showClasses(top) {
    list(top.map(({ index, name, probability }) =>
        item(name || String(index), bar(probability), `${(100 * probability).toFixed(1)} %`)));
}

/** As train_digits.py has it: 8 x 8 gray pixels, each a square of 8 x 8. */
async function readDigit(run) {
    const { data } = pixels(), cell = 32, input = new Float32Array(3 * 64 * 64);
    for (let row = 0; row < 8; ++row) {
        for (let column = 0; column < 8; ++column) {
            let sum = 0;
            for (let y = 0; y < cell; ++y) {
                for (let x = 0; x < cell; ++x) sum += data[4 * ((row * cell + y) * 256 + column * cell + x)];
            }
            const value = Math.round(sum / (cell * cell)) / 255;
            for (let i = 0; i < 64; ++i) {
                const at = (8 * row + Math.floor(i / 8)) * 64 + 8 * column + i % 8;
                input[at] = input[4096 + at] = input[8192 + at] = value;
            }
        }
    }
    const { milliseconds } = await ask('forward', [input, [1, 3, 64, 64]]);
    const { result } = await ask('topK', [3]);
    if (run !== latest) return;
    showClasses(result);
    say(`This is a ${result[0].index}: ${time(milliseconds)}.`);
}

async function classify(run) {
    const { result, milliseconds } = await ask('classify', [pixels(), 5]);
    if (isGlyphs()) {
        characters ??= (await (await fetched('glyphs/classes.txt')).text()).split('\n');
        for (const line of result) line.name = characters[line.index];
    }
    if (run !== latest) return;
    showClasses(result);
    say(isGlyphs() ? `This is ${result[0].name}: ${time(milliseconds)}.` : `${info.name}: ${time(milliseconds)}.`);
}

const hue = (i) => (i * 137.508) % 360;  // neighbours differ

async function segment(run) {
    const { result: { width, height, labels, names }, milliseconds } = await ask('segment', [pixels()]);
    if (run !== latest) return;
    const count = new Map(), colors = new Map(), image = new ImageData(width, height);
    labels.forEach((label, i) => {
        count.set(label, (count.get(label) ?? 0) + 1);
        if (!colors.has(label)) colors.set(label, rgb(hue(label)));
        image.data.set(colors.get(label), 4 * i);
    });
    cover(image);
    list([...count].sort((a, b) => b[1] - a[1]).map(([label, number]) => {
        const swatch = document.createElement('div');
        swatch.className = 'swatch';
        swatch.style.background = `rgb(${colors.get(label).slice(0, 3)})`;
        return item(names[label] || `class ${label}`, swatch, `${(100 * number / labels.length).toFixed(1)} %`);
    }));
    say(`${info.name}: ${time(milliseconds)}.`);
}

function rgb(h) {
    const channel = (n) => Math.round(255 * (0.5 - 0.45 * Math.max(-1, Math.min((n + h / 30) % 12 - 3, 9 - (n + h / 30) % 12, 1))));
    return [channel(0), channel(8), channel(4), 140];
}

async function features(run) {
    const { result, milliseconds } = await ask('run', [pixels()]);
    if (run !== latest) return;
    list(Object.entries(result).map(([name, { shape }]) => item(name, '', shape.join(' x '))));
    say(`${info.name}: ${time(milliseconds)}.`);
}

// ---- Segment anything -------------------------------------------------------------------------------------------------

async function encode(run) {
    const { milliseconds } = await ask('setImage', [pixels()]);
    if (run !== latest) return;
    say(`${info.name}: the picture is encoded, in ${time(milliseconds)}. Click on an object.`);
    if (document.activeElement === stage) drawPrompt();
}

function drawPrompt() {
    above.strokeStyle = 'white';
    above.lineWidth = Math.max(view.width / overlay.width, view.width / 300);
    for (const { x, y, label } of points) {
        above.fillStyle = label === 1 ? '#38a169' : '#e53e3e';
        above.beginPath();
        above.arc(x, y, view.width / 100, 0, 2 * Math.PI);
        above.fill();
        above.stroke();
    }
    if (document.activeElement === stage && stage.matches(':focus-visible')) {
        above.strokeRect(cursor.x - view.width / 60, cursor.y - view.width / 60, view.width / 30, view.width / 30);
    }
}

let mask;

/** Blue with a white edge, which is seen on any color. */
function maskImage({ width, height, pixels }) {
    const image = new ImageData(width, height);
    const outside = (i, step, inPicture) => inPicture && pixels[i + step] === 0;
    pixels.forEach((set, i) => {
        if (!set) return;
        const x = i % width, y = (i - x) / width;
        const edge = outside(i, -1, x > 0) || outside(i, 1, x < width - 1) ||
            outside(i, -width, y > 0) || outside(i, width, y < height - 1);
        image.data.set(edge ? [255, 255, 255, 230] : [43, 108, 255, 130], 4 * i);
    });
    return image;
}

function drawMask() {
    clearAbove();
    if (mask !== undefined && points.length > 0) {
        cover(maskImage(mask));
    }
    drawPrompt();
}

async function click(x, y, label) {
    points.push({ x, y, label });
    const run = ++latest, begin = performance.now();
    document.body.dataset.state = 'busy';
    try {
        // One point may mean a part or the whole; more say which.
        const { result, milliseconds } = await ask('predict', [{ points, multimask: points.length === 1 }]);
        if (run !== latest) return;
        [mask] = result;
        drawMask();
        const share = mask.pixels.reduce((a, b) => a + b, 0) / mask.pixels.length;
        say(`The mask has ${(100 * share).toFixed(1)} % of the picture; predicted IoU ${mask.iou.toFixed(2)}; ` +
            `${time(milliseconds)}, on the screen in ${time(performance.now() - begin)}.`);
    } catch (error) {
        points.pop();
        say(error.message, true);
    }
}

// ---- What people do ---------------------------------------------------------------------------------------------------

function place(event) {
    const box = stage.getBoundingClientRect();
    return {
        x: Math.min(view.width, Math.max(0, (event.clientX - box.left - 1) / (box.width - 2) * view.width)),
        y: Math.min(view.height, Math.max(0, (event.clientY - box.top - 1) / (box.height - 2) * view.height)),
    };
}

const belongs = (event) => (event.shiftKey || $('exclude').checked ? 0 : 1);

let stroke;

// Not pointerdown: a finger that scrolls the page does not click.
stage.addEventListener('click', (event) => {
    if (!isSam() || !hasPicture) return;
    const { x, y } = place(event);
    click(x, y, belongs(event));
});
stage.addEventListener('pointerdown', (event) => {
    if (!isDigits()) return;
    stage.setPointerCapture(event.pointerId);
    stroke = place(event);
});
stage.addEventListener('pointermove', (event) => {
    if (stroke === undefined) return;
    const to = place(event);
    drawing.strokeStyle = 'white';
    drawing.lineWidth = 32;
    drawing.lineCap = 'round';
    drawing.beginPath();
    drawing.moveTo(stroke.x, stroke.y);
    drawing.lineTo(to.x, to.y);
    drawing.stroke();
    stroke = to;
});
stage.addEventListener('pointerup', () => {
    if (stroke !== undefined) pictureChanged();
    stroke = undefined;
});
stage.addEventListener('keydown', (event) => {
    if (!isSam() || !hasPicture) return;
    const step = view.width / (event.shiftKey ? 100 : 25);
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) {
        cursor.x = Math.min(view.width, Math.max(0, cursor.x + moves[event.key][0]));
        cursor.y = Math.min(view.height, Math.max(0, cursor.y + moves[event.key][1]));
        drawMask();
    } else if (event.key === 'Enter' || event.key === ' ') {
        click(cursor.x, cursor.y, belongs(event));
    } else {
        return;
    }
    event.preventDefault();
});
stage.addEventListener('focus', () => isSam() && drawMask());
stage.addEventListener('blur', () => isSam() && drawMask());

for (const name of ['dragover', 'dragleave', 'drop']) {
    document.addEventListener(name, (event) => {
        event.preventDefault();
        stage.classList.toggle('over', name === 'dragover');
        const file = event.dataTransfer?.files[0];
        if (name !== 'drop' || file === undefined) return;
        if (/\.(safetensors|pt|pth|tar)$/i.test(file.name)) loadWeights(file, file.name);
        else trying('Reading the picture …', () => showPicture(file));
    });
}

$('weights').onchange = ({ target }) => target.files[0] && loadWeights(target.files[0], target.files[0].name);
$('picture').onchange = ({ target }) =>
    target.files[0] && trying('Reading the picture …', () => showPicture(target.files[0]));
$('from-url').onsubmit = (event) => {
    event.preventDefault();
    $('weights').value = '';
    loadWeights($('url').value, $('url').value.split('/').at(-1));
};
for (const button of document.querySelectorAll('[data-weights]')) {
    button.onclick = () => {
        $('weights').value = '';
        loadWeights(new URL(button.dataset.weights, import.meta.url).href, button.dataset.weights);
    };
}
$('example').onclick = () => trying('', showExample);
$('clear').onclick = () => {
    if (isDigits()) {
        resize(256, 256);
        drawing.fillRect(0, 0, 256, 256);
        $('answer').replaceChildren();
        say('Draw a digit.');
    } else {
        points = [];
        drawMask();
        say('Click on an object.');
    }
};
$('camera').onclick = () =>
    trying('Waiting for the camera …', async () => {
        const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } }).catch(() => {
            throw new Error('there is no camera, or the page may not use it');
        });
        const video = Object.assign(document.createElement('video'), { srcObject: stream, playsInline: true, muted: true });
        await video.play();
        await showPicture(video);
        for (const track of stream.getTracks()) track.stop();
    });

// Once loaded, the page works without the network. Not from a file: there are no service workers there.
const module = `efficientvit${hasRelaxedSimd() ? '-relaxed' : ''}.wasm`;
navigator.serviceWorker?.register(new URL(`offline.js?${module}`, import.meta.url)).catch(() => {});
document.querySelector('[data-weights]').click();
