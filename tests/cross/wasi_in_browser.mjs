// SPDX-License-Identifier: Apache-2.0
//
// Runs a program for WASI in a page of a headless browser, with files to read and the environment's EFFICIENTVIT_ variables:
// node wasi_in_browser.mjs BROWSER PROGRAM ARGUMENT…. A program that ends in .relaxed is left out where the engine does not
// have relaxed SIMD.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Browser } from '../web/browser.mjs';

const [program, ...args] = process.argv.slice(2);
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith('EFFICIENTVIT_')));
const types = { '.js': 'text/javascript', '.wasm': 'application/wasm' };

const page = `<!DOCTYPE html><script type="module">
import { hasRelaxedSimd } from '/efficientvit.js';
window.text = '';
const worker = new Worker('/worker.js', { type: 'module' });
worker.onmessage = ({ data: { text = '', code } }) => {
    window.text += text;
    window.code = code;
};
worker.onerror = ({ message }) => {
    window.text += message;
    window.code = 1;
};
if (${args[0].endsWith('.relaxed')} && !hasRelaxedSimd()) {
    window.text = 'left out: no relaxed SIMD in this browser\\n';
    window.code = 0;
} else {
    worker.postMessage(${JSON.stringify({ program: '/program.wasm', args, env, files: '/files/' })});
}
</script>`;

const here = (path) => fileURLToPath(new URL(path, import.meta.url)), tests = here('..');

/** What the page may ask for: the program, and what is in the tests' folder. */
function file(path) {
    const own = {
        '/worker.js': here('wasi_worker.js'), '/efficientvit.js': here('../../examples/web/efficientvit.js'), '/program.wasm': args[0],
    };
    const wanted = own[path] ?? resolve(path.replace(/^\/files/, ''));
    if (own[path] === undefined && !wanted.startsWith(tests)) throw new Error(`${path} is not for the page`);
    return readFile(wanted);
}

const server = createServer(async ({ url }, response) => {
    const path = decodeURIComponent(url);
    try {
        const bytes = path === '/' ? page : await file(path);
        response.writeHead(200, { 'Content-Type': types[extname(path)] ?? 'text/html' }).end(bytes);
    } catch {
        response.writeHead(404).end();
    }
}).listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));

const browser = await Browser.start(program);
try {
    await browser.open(`http://127.0.0.1:${server.address().port}/`);
    await browser.until('window.code !== undefined', 600);
    process.stdout.write(await browser.evaluate('window.text'));
    process.exitCode = await browser.evaluate('window.code');
} finally {
    await browser.close();
    server.close();
}
