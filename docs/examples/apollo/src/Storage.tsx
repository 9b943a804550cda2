import { useMutation, useQuery } from '@apollo/client/react';
import { useState } from 'react';
import { graphql } from './graphql';
import { ErrorNote, Field, valuesOf } from './parts';
import { put } from './upload';

const BUCKETS = graphql(`query Buckets { buckets(first: 100) { nodes { id name } } }`);
const CREATE_BUCKET = graphql(`
  mutation CreateBucket($input: CreateBucketInput!) { createBucket(input: $input) { bucket { id name } } }
`);
const FILES = graphql(`
  query Files($id: ID!, $after: String) {
    bucket(id: $id) {
      id
      files(first: 50, after: $after) {
        edges { node { id location size status } }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
`);
const CREATE_FILE = graphql(`
  mutation CreateFile($input: CreateFileInput!) { createFile(input: $input) { file { id } uploadUrl } }
`);
const DELETE_FILE = graphql(`
  mutation DeleteFile($input: DeleteFileInput!) { deleteFile(input: $input) { deletedFileId } }
`);
const DOWNLOAD = graphql(`query Download($id: ID!) { file(id: $id) { id downloadUrl } }`);

export function Storage() {
  const { data, error, refetch } = useQuery(BUCKETS);
  const [create, creating] = useMutation(CREATE_BUCKET);
  const [chosen, setChosen] = useState<string>();

  async function submit(event: React.FormEvent<HTMLFormElement>) {
    const { name = '' } = valuesOf(event, true);
    const { data } = await create({ variables: { input: { name } } });
    await refetch();
    setChosen(data?.createBucket?.bucket.id);
  }

  return (
    <div className="columns">
      <aside>
        <h2>Buckets</h2>
        <ul className="list">
          {data?.buckets?.nodes.map(({ id, name }) => (
            <li key={id}>
              <button className="plain" aria-pressed={id === chosen} onClick={() => setChosen(id)}>{name}</button>
            </li>
          ))}
        </ul>
        <form className="row" onSubmit={(event) => void submit(event).catch(() => {})}>
          <Field label="New bucket" name="name" maxLength={100} />
          <button>Create</button>
        </form>
        <ErrorNote error={error ?? creating.error} />
      </aside>
      {chosen && <Files key={chosen} bucketId={chosen} />}
    </div>
  );
}

function Files({ bucketId }: { bucketId: string }) {
  const { data, error, fetchMore, refetch, client } = useQuery(FILES, { variables: { id: bucketId } });
  const [createFile] = useMutation(CREATE_FILE);
  const [deleteFile, deleting] = useMutation(DELETE_FILE, {
    update: (cache, { data }) => cache.evict({ id: `File:${data?.deleteFile?.deletedFileId}` }),
  });
  const [upload, setUpload] = useState<{ share: number; abort: AbortController }>();
  const [failure, setFailure] = useState<unknown>();

  async function send(file: File) {
    setFailure(undefined);
    const input = {
      bucketId,
      location: file.webkitRelativePath || file.name,
      size: String(file.size), // a BigInt
      contentType: file.type || null,
      idempotencyKey: crypto.randomUUID(),
    };
    const { data } = await createFile({ variables: { input } });
    if (!data?.createFile) return;
    const abort = new AbortController();
    setUpload({ share: 0, abort });
    await put(data.createFile.uploadUrl, file, (share) => setUpload({ share, abort }), abort.signal);
  }

  // Queried for each download, because the signed URL is valid for one hour.
  async function download(id: string) {
    const { data } = await client.query({ query: DOWNLOAD, variables: { id }, fetchPolicy: 'no-cache' });
    if (data?.file?.downloadUrl) location.assign(data.file.downloadUrl);
  }

  const files = data?.bucket?.files;
  return (
    <section>
      <label>
        Upload a file
        <input
          type="file"
          onChange={({ target: { files } }) => {
            if (!files?.[0]) return;
            void send(files[0]).catch(setFailure).finally(() => {
              setUpload(undefined);
              void refetch();
            });
          }}
        />
      </label>
      {upload && (
        <div className="row">
          <progress aria-label="Upload" value={upload.share} />
          <button onClick={() => upload.abort.abort()}>Abort</button>
        </div>
      )}
      <ErrorNote error={error ?? deleting.error ?? failure} />
      <ul className="list">
        {files?.edges.map(({ node: { id, location, size, status } }) => (
          <li key={id}>
            <button className="plain" disabled={status !== 'STORED'} onClick={() => void download(id).catch(setFailure)}>
              {location}
            </button>
            <span>
              {Number(size).toLocaleString('en')} bytes, {status}
            </span>
            <button
              className="plain"
              aria-label={`Delete ${location}`}
              onClick={() => void deleteFile({ variables: { input: { id } } }).catch(() => {})}
            >
              Delete
            </button>
          </li>
        ))}
      </ul>
      {files?.pageInfo.hasNextPage && (
        <button onClick={() => void fetchMore({ variables: { after: files.pageInfo.endCursor } }).catch(setFailure)}>
          More
        </button>
      )}
    </section>
  );
}
