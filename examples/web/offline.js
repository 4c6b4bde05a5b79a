// SPDX-License-Identifier: Apache-2.0
//
// Fetches all that the page may need from its own folder, keeps it, and gives it out where there is no network. Registered
// with the name of the module that the engine takes.
const cache = 'efficientvit-0.1.0';
const examples = Array.from({ length: 10 }, (_, i) => [`digits/${i}.png`, `shapes/${i}.png`]).flat();
const files = ['./', 'page.js', 'worker.js', 'efficientvit.js', location.search.slice(1), 'digits_b0.safetensors',
               'shapes_sam.safetensors', 'glyphs_b0.safetensors', 'glyphs/held_out.png', 'glyphs/classes.txt', ...examples];

onfetch = (event) => {
    if (event.request.method !== 'GET' || !event.request.url.startsWith(registration.scope)) return;
    event.respondWith(
        (async () => {
            const kept = await caches.open(cache);
            try {
                const response = await fetch(event.request);
                if (response.ok) event.waitUntil(kept.put(event.request, response.clone()));
                return response;
            } catch (error) {
                return (await kept.match(event.request)) ?? Promise.reject(error);
            }
        })(),
    );
};
oninstall = (event) => {
    skipWaiting();
    event.waitUntil(caches.open(cache).then((kept) => Promise.allSettled(files.map((file) => kept.add(file)))));
};
onactivate = (event) => event.waitUntil(clients.claim());
