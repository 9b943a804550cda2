// Storage: buckets, files, uploads that can be paused and resumed, downloads.

import { useEffect, useEffectEvent, useState } from 'react';
import { DetailedError, Upload } from 'tus-js-client';
import { useClient, useMutation, useQuery } from 'urql';
import { graphql } from './gql';
import type { StoredFileFragment } from './gql/graphql';
import { bytes, download, FRESH, fields, More, Problem } from './parts';

graphql(`fragment StoredFile on File { id location size status uploadUrl }`);
const Buckets = graphql(`query Buckets { buckets(first: 100) { nodes { id name fileCount totalSize } } }`);
const CreateBucket = graphql(`mutation CreateBucket($input: CreateBucketInput!) {
  createBucket(input: $input) { bucket { id name fileCount totalSize } }
}`);
const Files = graphql(`query Files($id: ID!, $after: String) {
  bucket(id: $id) { id
    files(first: 100, after: $after) { nodes { ...StoredFile } pageInfo { hasNextPage endCursor } }
  }
}`);
const OneFile = graphql(`query OneFile($id: ID!) { file(id: $id) { ...StoredFile downloadUrl } }`);
const CreateFile = graphql(`mutation CreateFile($input: CreateFileInput!) {
  createFile(input: $input) { file { ...StoredFile bucket { id fileCount totalSize } } }
}`);

export function StoragePage() {
  const [{ data, error }] = useQuery({ query: Buckets });
  const [created, create] = useMutation(CreateBucket);
  const [chosen, setChosen] = useState<string>();
  async function add(form: HTMLFormElement) {
    const input = { name: fields(form)('name'), idempotencyKey: crypto.randomUUID() };
    const { data } = await create({ input });
    if (data?.createBucket) setChosen(data.createBucket.bucket.id);
  }
  return (
    <section className="narrow">
      <h1>Storage</h1>
      <form className="row" onSubmit={(event) => (event.preventDefault(), add(event.currentTarget))}>
        <input name="name" aria-label="Bucket name" placeholder="New bucket" />
        <button className="primary">Create bucket</button>
      </form>
      <Problem error={error ?? created.error} />
      <nav className="row" aria-label="Buckets">
        {data?.buckets?.nodes.map(({ id, name, fileCount, totalSize }) => (
          <button key={id} aria-pressed={id === chosen} onClick={() => setChosen(id)}>
            {name} <small>{fileCount} files, {bytes(totalSize)}</small>
          </button>
        ))}
      </nav>
      {chosen && <Bucket key={chosen} id={chosen} />}
    </section>
  );
}

function Bucket({ id: bucketId }: { id: string }) {
  const [created, create] = useMutation(CreateFile);
  const [chosen, setChosen] = useState<Record<string, File>>({}); // the bytes of the uploads of this page
  async function add(file: File) {
    const input = { bucketId, location: file.name, size: String(file.size), contentType: file.type || null };
    const { data } = await create({ input: { ...input, idempotencyKey: crypto.randomUUID() } });
    const id = data?.createFile?.file.id;
    if (id) setChosen((before) => ({ ...before, [id]: file }));
  }
  return (
    <>
      <label className="drop">
        Upload files
        <input type="file" multiple onChange={(event) => [...(event.target.files ?? [])].forEach(add)} />
      </label>
      <Problem error={created.error} />
      <ul className="list">
        <FileList id={bucketId} after={null} chosen={chosen} />
      </ul>
    </>
  );
}

type FileListProps = { id: string; after: string | null; chosen: Record<string, File> };

function FileList({ id, after, chosen }: FileListProps) {
  const [{ data, error }] = useQuery({ query: Files, variables: { id, after } });
  const [isLast, setIsLast] = useState(true);
  const { hasNextPage = false, endCursor = null } = data?.bucket?.files.pageInfo ?? {};
  return (
    <>
      {error && <li><Problem error={error} /></li>}
      {data?.bucket?.files.nodes.map((file) => <FileItem key={file.id} file={file} chosen={chosen[file.id]} />)}
      {hasNextPage && isLast && <li><More load={() => setIsLast(false)} /></li>}
      {hasNextPage && !isLast && <FileList id={id} after={endCursor} chosen={chosen} />}
    </>
  );
}

function FileItem({ file, chosen }: { file: StoredFileFragment; chosen: File | undefined }) {
  const client = useClient();
  const fetchFile = async () => {
    const { data } = await client.query(OneFile, { id: file.id }, FRESH).toPromise();
    return data?.file;
  };
  const save = async () => {
    const url = (await fetchFile())?.downloadUrl; // valid for an hour, so fetched when it is needed
    if (url) download(url);
  };
  return (
    <li>
      <span>{file.location} <small>{bytes(file.size)}</small></span>
      {file.status === 'STORED' && <button onClick={save}>Download</button>}
      {file.status === 'PENDING' && file.uploadUrl && (
        <Sending url={file.uploadUrl} file={file} chosen={chosen} stored={fetchFile} />
      )}
    </li>
  );
}

type SendingProps = { url: string; file: StoredFileFragment; chosen: File | undefined; stored: () => void };

/** What the server answered to an upload that failed. */
function explain(error: Error): { message: string; hint?: string } {
  const body = error instanceof DetailedError ? error.originalResponse?.getBody() : undefined;
  if (!body) return { message: 'The server did not answer.', hint: 'Check the network, then resume.' };
  const { message, extensions } = JSON.parse(body).errors[0];
  return { message, hint: extensions.hint };
}

/**
 * An upload that starts at once, and goes on after a pause or a failure where it was. After a reload the page has the
 * file no longer: the user chooses it again, and only the bytes that are missing are sent.
 */
function Sending({ url: latestUrl, file, chosen, stored }: SendingProps) {
  const [url] = useState(latestUrl); // each query signs another URL; the first one stays valid for a day
  const [source, setSource] = useState(chosen);
  const [sent, setSent] = useState(0);
  const [isPaused, setIsPaused] = useState(false);
  const [problem, setProblem] = useState<{ message: string; hint?: string }>();
  const isStored = useEffectEvent(stored);
  useEffect(() => {
    if (!source || isPaused) return;
    const upload = new Upload(source, {
      uploadUrl: url,
      onProgress: setSent,
      onSuccess: () => isStored(),
      onError: (error) => (setProblem(explain(error)), setIsPaused(true)),
    });
    upload.start();
    return () => void upload.abort();
  }, [url, source, isPaused]);

  function pauseOrResume() {
    setProblem(undefined);
    setIsPaused(!isPaused);
  }
  function choose(picked: File | undefined) {
    const isSame = picked && String(picked.size) === file.size;
    if (isSame) setSource(picked);
    setProblem(isSame ? undefined : { message: `Choose the file of ${file.size} bytes that this upload began with.` });
  }
  return (
    <span className="row">
      <progress aria-label={`Upload of ${file.location}`} value={sent} max={Number(file.size)} />
      {source && <button onClick={pauseOrResume}>{isPaused ? 'Resume' : 'Pause'}</button>}
      {!source && <label>Resume <input type="file" onChange={(event) => choose(event.target.files?.[0])} /></label>}
      <Problem error={problem} />
    </span>
  );
}
