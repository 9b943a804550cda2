type Failure = { errors?: { message: string; extensions?: { hint?: string } }[] };

/** Sends the bytes to a signed URL. XMLHttpRequest, because fetch does not report the progress of an upload. */
export function put(url: string, file: File, progress: (share: number) => void, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 1);
    request.onload = () => (request.status === 201 ? resolve() : reject(failure(request)));
    request.onerror = () => reject(new Error('The upload was interrupted.'));
    request.onabort = () => reject(new Error('The upload was aborted.'));
    signal.addEventListener('abort', () => request.abort());
    request.open('PUT', url);
    request.send(file);
  });
}

function failure({ status, responseText }: XMLHttpRequest): Error {
  try {
    const { errors } = JSON.parse(responseText) as Failure;
    return new Error(`${errors?.[0]?.message} ${errors?.[0]?.extensions?.hint ?? ''}`);
  } catch {
    return new Error(`The upload failed with HTTP status ${status}.`);
  }
}
