// Storage: buckets, files, uploads that can be paused and resumed, downloads.

import { useRef, useState } from 'react';
import { useClient, useMutation, useQuery } from 'urql';
import { graphql } from './gql';
import type { StoredFileFragment } from './gql/graphql';
import { bytes, download, fields, Problem } from './parts';
import { send, type Upload } from './upload';

graphql(`fragment StoredFile on File { id location size status uploadUrl }`);
const Buckets = graphql(`query Buckets { buckets(first: 100) { nodes { id name fileCount totalSize } } }`);
const CreateBucket = graphql(`mutation CreateBucket($input: CreateBucketInput!) {
  createBucket(input: $input) { bucket { id name fileCount totalSize } }
}`);
const Files = graphql(`query Files($id: ID!) {
  bucket(id: $id) { id fileCount totalSize files(first: 100) { nodes { ...StoredFile } } }
}`);
const OneFile = graphql(`query OneFile($id: ID!) { file(id: $id) { ...StoredFile downloadUrl } }`);
const CreateFile = graphql(`mutation CreateFile($input: CreateFileInput!) {
  createFile(input: $input) { file { ...StoredFile } }
}`);

export function StoragePage() {
  const [{ data, error }] = useQuery({ query: Buckets });
  const [created, create] = useMutation(CreateBucket);
  const [chosen, setChosen] = useState<string>();
  async function add(form: HTMLFormElement) {
    const input = { name: fields(form)('name'), idempotencyKey: crypto.randomUUID() };
    const { data } = await create({ input });
    if (data) setChosen(data.createBucket.bucket.id);
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
        {data?.buckets.nodes.map(({ id, name, fileCount, totalSize }) => (
          <button key={id} aria-pressed={id === chosen} onClick={() => setChosen(id)}>
            {name} <small>{fileCount} files, {bytes(totalSize)}</small>
          </button>
        ))}
      </nav>
      {chosen && <Bucket key={chosen} id={chosen} />}
    </section>
  );
}

function Bucket({ id }: { id: string }) {
  const [{ data, error }, refetch] = useQuery({ query: Files, variables: { id } });
  const [created, create] = useMutation(CreateFile);
  const [chosen, setChosen] = useState<Record<string, File>>({}); // the bytes of the uploads of this page
  async function add(file: File) {
    const input = { bucketId: id, location: file.name, size: String(file.size), contentType: file.type || null };
    const { data } = await create({ input: { ...input, idempotencyKey: crypto.randomUUID() } });
    if (!data) return;
    setChosen((before) => ({ ...before, [data.createFile.file.id]: file }));
    refetch({ requestPolicy: 'network-only' });
  }
  return (
    <>
      <label className="drop">
        Upload files
        <input type="file" multiple onChange={(event) => [...(event.target.files ?? [])].forEach(add)} />
      </label>
      <Problem error={error ?? created.error} />
      <ul className="list">
        {data?.bucket?.files.nodes.map((file) => <FileItem key={file.id} file={file} chosen={chosen[file.id]} />)}
      </ul>
    </>
  );
}

function FileItem({ file, chosen }: { file: StoredFileFragment; chosen: File | undefined }) {
  const client = useClient();
  const fetchFile = async () => {
    const { data } = await client.query(OneFile, { id: file.id }, { requestPolicy: 'network-only' }).toPromise();
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

/** An upload in progress. After a reload the page has the file no longer: the user chooses it again. */
function Sending({ url, file, chosen, stored }: SendingProps) {
  const [sent, setSent] = useState(0);
  const [problem, setProblem] = useState<string>();
  const [isActive, setIsActive] = useState(false);
  const upload = useRef<Upload>(null);
  function start(source: File) {
    setProblem(undefined);
    setIsActive(true);
    upload.current = send(url, source, setSent);
    upload.current.done.then(stored, (error: Error) => setProblem(error.message)).finally(() => setIsActive(false));
  }
  const pick = (source: File | undefined) => {
    if (!source) return;
    if (String(source.size) === file.size) start(source);
    else setProblem(`Choose the file of ${file.size} bytes that this upload began with.`);
  };
  return (
    <span className="row">
      <progress aria-label={`Upload of ${file.location}`} value={sent} max={Number(file.size)} />
      {isActive && <button onClick={() => upload.current?.abort()}>Pause</button>}
      {!isActive && chosen && <button onClick={() => start(chosen)}>Resume</button>}
      {!isActive && !chosen && <label>Resume <input type="file" onChange={(event) => pick(event.target.files?.[0])} /></label>}
      {problem && <span role="alert">{problem}</span>}
    </span>
  );
}
