// SPDX-License-Identifier: Apache-2.0
//
// A browser that hangs costs seconds, not the day: one that says nothing, and others that stop answering later, are given
// up, and nothing that they started is left.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { Browser } from './browser.mjs';

/** Programs that do as Firefox does up to a point; none heeds SIGTERM, and each has started another program. */
const source = `#!${process.execPath}
const { appendFileSync } = require('node:fs');
const { spawn } = require('node:child_process');
const { createHash } = require('node:crypto');
const { createServer } = require('node:http');
process.on('SIGTERM', () => {});
const sleeper = spawn('sleep', ['1000'], { stdio: 'inherit' });
appendFileSync(__dirname + '/pids', process.pid + ' ' + sleeper.pid + ' ');
const how = __filename.split('_').pop();
const server = createServer();
server.on('upgrade', ({ headers }, socket) => {
    if (how === 'deaf') return;
    const key = createHash('sha1').update(headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
    socket.write(['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Accept: ' + key,
                  '', ''].join('\\r\\n'));
});
server.listen(0, '127.0.0.1', () => {
    if (how !== 'silent') console.log('WebDriver BiDi listening on ws://127.0.0.1:' + server.address().port);
});
`;

let folder;
before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'efficientvit-hangs-'));
});
after(() => rm(folder, { recursive: true }));

const runs = (pid) => {
    try {
        return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
    } catch {
        return false;
    }
};

for (const [how, failure] of [['silent', /nothing for 1 s/], ['deaf', /nothing for 1 s/], ['mute', /session.new: nothing for 1 s/]]) {
    test(`one that is ${how}`, { timeout: 30000 }, async () => {
        const program = join(folder, `firefox_${how}`);
        await writeFile(program, source, { mode: 0o755 });
        await assert.rejects(Browser.start(program, { seconds: 1 }), failure);
        const pids = (await readFile(join(folder, 'pids'), 'utf8')).trim().split(' ').map(Number);
        assert.ok(pids.length >= 4, 'it was tried twice');
        for (let i = 0; i < 100 && pids.some(runs); ++i) await new Promise((resolve) => setTimeout(resolve, 20));
        assert.deepEqual(pids.filter(runs), []);
    });
}
