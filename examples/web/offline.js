// SPDX-License-Identifier: Apache-2.0
//
// Keeps what the page has fetched from its own folder, and gives it out where there is no network.
const cache = 'efficientvit-0.1.0';

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
oninstall = () => skipWaiting();
onactivate = (event) => event.waitUntil(clients.claim());
