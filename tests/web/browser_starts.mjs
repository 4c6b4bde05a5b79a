// SPDX-License-Identifier: Apache-2.0
//
// Starts a headless browser and closes it: node browser_starts.mjs BROWSER. For scripts that ask whether that works here.
import { Browser } from './browser.mjs';

try {
    await (await Browser.start(process.argv[2], { seconds: 30 })).close();
} catch (error) {
    console.error(String(error.message ?? error));
    process.exitCode = 1;
}
