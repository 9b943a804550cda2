// Resumable uploads with tus-js-client: node tus.mjs UPLOAD_URL UPLOAD_URL UPLOAD_URL
// The first is paused and resumed, the second loses its connection, the third is terminated.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createServer, connect } from 'node:net';
import { Upload } from 'tus-js-client';

const [aborted, killed, terminated] = process.argv.slice(2);
const DATA = randomBytes(3_000_000);

/** An upload of DATA to a URL, and a promise of its end. */
function upload(uploadUrl, options = {}) {
  let upload;
  const ended = new Promise((onSuccess, onError) => {
    upload = new Upload(DATA, { uploadUrl, retryDelays: [0, 50, 100, 200, 400], onSuccess, onError, ...options });
  });
  return { upload, ended };
}

/** Uploads the first megabyte, then aborts, as a user who pauses. */
async function uploadAPart(url) {
  await new Promise((paused, onError) => {
    const upload = new Upload(DATA, {
      uploadUrl: url,
      chunkSize: 1_000_000,
      onError,
      onChunkComplete: () => upload.abort().then(paused, onError),
    });
    upload.start();
  });
}

/** Resumes with another object, as after a reload of the page. */
async function pauseAndResume(url) {
  const offsets = [];
  await uploadAPart(url);
  const second = upload(url, { onProgress: (sent) => offsets.push(sent) });
  second.upload.start();
  await second.ended;
  assert.ok(offsets[0] >= 1_000_000, `it resumed at ${offsets[0]}`);
}

/** A proxy cuts the connection once in the middle of the body: the client resumes by itself. */
async function surviveAKilledConnection(url) {
  const target = new URL(url);
  const { hostname, port } = target;
  let cuts = 0;
  const proxy = createServer((client) => {
    const server = connect(port, hostname);
    let passed = 0;
    client.on('data', (data) => {
      passed += data.length;
      if (!cuts && passed > 1_500_000) {
        cuts += 1;
        server.end(); // what was sent arrives
        client.resetAndDestroy();
      } else if (server.writable) server.write(data);
    });
    server.on('data', (data) => client.writable && client.write(data));
    server.on('end', () => client.end());
    for (const socket of [client, server]) socket.on('error', () => {});
  });
  await new Promise((listening) => proxy.listen(0, '127.0.0.1', listening));
  target.port = proxy.address().port;
  const offsets = [];
  const sent = upload(target.href, {
    onAfterResponse: (request, response) =>
      request.getMethod() === 'HEAD' && offsets.push(Number(response.getHeader('Upload-Offset'))),
  });
  sent.upload.start();
  await sent.ended;
  assert.equal(cuts, 1);
  assert.equal(offsets[0], 0);
  assert.ok(offsets.at(-1) > 0, 'it starts again');
  proxy.close();
}

async function terminate(url) {
  await uploadAPart(url);
  await Upload.terminate(url, { retryDelays: [] });
  const gone = upload(url, { retryDelays: [] });
  gone.upload.start();
  await assert.rejects(gone.ended, (error) => error.originalResponse.getStatus() === 404);
}

await pauseAndResume(aborted);
await surviveAKilledConnection(killed);
await terminate(terminated);
console.log(createHash('sha256').update(DATA).digest('hex'));
process.exit();
