// A resumable upload from a page of another origin: node uploads.mjs PAGE UPLOAD_URL
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: { chromium: { type: 'string' }, screenshots: { type: 'string' } },
});
const [address, uploadUrl] = positionals;

const browser = await chromium.launch({ executablePath: options.chromium, args: ['--no-sandbox'] });
try {
  const page = await browser.newPage();
  await page.goto(address);
  const { digest, offsets } = await page.evaluate(async (uploadUrl) => {
    const bytes = new Uint8Array(3_000_000).map((_, at) => at % 251);
    const file = new File([bytes], 'may.bin');
    await new Promise((paused, onError) => {
      const upload = new tus.Upload(file, {
        uploadUrl,
        chunkSize: 1_000_000,
        onError,
        onChunkComplete: () => upload.abort().then(paused, onError),
      });
      upload.start();
    });
    const offsets = [];
    await new Promise((onSuccess, onError) => {
      const onProgress = (sent) => offsets.push(sent);
      new tus.Upload(file, { uploadUrl, onProgress, onSuccess, onError }).start();
    });
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    return { digest: [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join(''), offsets };
  }, uploadUrl);
  assert.ok(offsets[0] >= 1_000_000, `it resumed at ${offsets[0]}`);
  console.log(digest);
} finally {
  await browser.close();
}
