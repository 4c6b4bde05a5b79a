#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
//
// Serves a folder on this machine, with the headers that browsers want before they lend a page shared memory:
// node serve.mjs [FOLDER] [PORT]. Prints its address; port 0 takes any that is free.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';

const types = {
    '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.wasm': 'application/wasm', '.png': 'image/png',
    '.json': 'application/json',
};
const folder = process.argv[2] ?? '.';

const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
    const file = join(folder, path.endsWith('/') ? `${path}index.html` : path);
    try {
        const bytes = await readFile(file);
        response.writeHead(200, {
            'Content-Type': types[extname(file)] ?? 'application/octet-stream',
            'Content-Length': bytes.length,
            'Cross-Origin-Opener-Policy': 'same-origin',
            'Cross-Origin-Embedder-Policy': 'require-corp',
            'Cache-Control': 'no-cache',
        });
        response.end(request.method === 'HEAD' ? undefined : bytes);
    } catch {
        response.writeHead(404).end();
    }
}).listen(Number(process.argv[3] ?? 8000), '127.0.0.1', () => {
    console.log(`http://localhost:${server.address().port}/`);
});
