// Sends the bytes of a file, with progress.

/** `fetch` does not report the progress of an upload, `XMLHttpRequest` does. */
export function send(url: string, file: File, onProgress: (sent: number) => void) {
  const request = new XMLHttpRequest();
  request.upload.onprogress = ({ loaded }) => onProgress(loaded);
  request.open('PUT', url);
  request.send(file);
  const done = new Promise<void>((resolve, reject) => {
    request.onload = () => (request.status === 201 ? resolve() : reject(new Error(request.responseText)));
    request.onerror = () => reject(new Error('The server was not reached.'));
  });
  return { done, abort: () => request.abort() };
}
