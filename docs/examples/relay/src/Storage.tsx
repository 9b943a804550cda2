import { Suspense, useState } from 'react';
import { fetchQuery, graphql, useLazyLoadQuery, usePaginationFragment, useRelayEnvironment } from 'react-relay';
import type { Storage_files$key } from './__generated__/Storage_files.graphql';
import type { StorageBucketMutation } from './__generated__/StorageBucketMutation.graphql';
import type { StorageBucketQuery } from './__generated__/StorageBucketQuery.graphql';
import type { StorageDeleteMutation } from './__generated__/StorageDeleteMutation.graphql';
import type { StorageFileMutation } from './__generated__/StorageFileMutation.graphql';
import type { StorageFileQuery } from './__generated__/StorageFileQuery.graphql';
import type { StorageFilesQuery } from './__generated__/StorageFilesQuery.graphql';
import type { StorageQuery } from './__generated__/StorageQuery.graphql';
import { ErrorBoundary, ErrorNote, Field, useAction, valuesOf } from './parts';
import { put } from './upload';

const BUCKETS = graphql`
  query StorageQuery {
    buckets(first: 100) @connection(key: "Storage_buckets") { __id edges { node { id name } } }
  }
`;
const CREATE_BUCKET = graphql`
  mutation StorageBucketMutation($input: CreateBucketInput!, $connections: [ID!]!) {
    createBucket(input: $input) {
      bucket @prependNode(connections: $connections, edgeTypeName: "BucketEdge") { id name }
    }
  }
`;
const BUCKET = graphql`query StorageBucketQuery($id: ID!) { bucket(id: $id) { ...Storage_files } }`;
const FILES = graphql`
  fragment Storage_files on Bucket
  @argumentDefinitions(first: { type: "Int", defaultValue: 50 }, after: { type: "String" })
  @refetchable(queryName: "StorageFilesQuery") {
    files(first: $first, after: $after) @connection(key: "Storage_files") {
      __id
      edges { node { id location size status } }
    }
  }
`;
const CREATE_FILE = graphql`
  mutation StorageFileMutation($input: CreateFileInput!, $connections: [ID!]!) {
    createFile(input: $input) {
      file @appendNode(connections: $connections, edgeTypeName: "FileEdge") { id location size status }
      uploadUrl
    }
  }
`;
const DELETE_FILE = graphql`
  mutation StorageDeleteMutation($input: DeleteFileInput!, $connections: [ID!]!) {
    deleteFile(input: $input) { deletedFileId @deleteEdge(connections: $connections) }
  }
`;
const FILE = graphql`query StorageFileQuery($id: ID!) { file(id: $id) { status downloadUrl } }`;

export function Storage() {
  const { buckets } = useLazyLoadQuery<StorageQuery>(BUCKETS, {}, { fetchPolicy: 'store-and-network' });
  const [create, error] = useAction<StorageBucketMutation>(CREATE_BUCKET);
  const [chosen, setChosen] = useState<string>();

  function submit(event: React.FormEvent<HTMLFormElement>) {
    const { name = '' } = valuesOf(event, true);
    create({
      variables: { input: { name }, connections: buckets ? [buckets.__id] : [] },
      onCompleted: ({ createBucket }) => setChosen(createBucket?.bucket.id),
    });
  }

  return (
    <div className="columns">
      <aside>
        <h2>Buckets</h2>
        <ul className="list">
          {buckets?.edges.map(({ node: { id, name } }) => (
            <li key={id}>
              <button className="plain" aria-pressed={id === chosen} onClick={() => setChosen(id)}>{name}</button>
            </li>
          ))}
        </ul>
        <form className="row" onSubmit={submit}>
          <Field label="New bucket" name="name" maxLength={100} />
          <button>Create</button>
        </form>
        <ErrorNote error={error} />
      </aside>
      {chosen && (
        <ErrorBoundary key={chosen}>
          <Suspense fallback="Loading ...">
            <Bucket id={chosen} />
          </Suspense>
        </ErrorBoundary>
      )}
    </div>
  );
}

function Bucket({ id }: { id: string }) {
  const { bucket } = useLazyLoadQuery<StorageBucketQuery>(BUCKET, { id }, { fetchPolicy: 'store-and-network' });
  return bucket && <Files bucketId={id} bucketRef={bucket} />;
}

function Files({ bucketId, bucketRef }: { bucketId: string; bucketRef: Storage_files$key }) {
  const environment = useRelayEnvironment();
  const { data, hasNext, loadNext } = usePaginationFragment<StorageFilesQuery, Storage_files$key>(FILES, bucketRef);
  const connections = [data.files.__id];
  const [createFile, createError] = useAction<StorageFileMutation>(CREATE_FILE);
  const [deleteFile, deleteError] = useAction<StorageDeleteMutation>(DELETE_FILE);
  const [upload, setUpload] = useState<{ share: number; abort: AbortController }>();
  const [failure, setFailure] = useState<unknown>();

  /** Fetches the file: its status after an upload, and a new signed URL for each download. */
  const fetchFile = (id: string) => fetchQuery<StorageFileQuery>(environment, FILE, { id }).toPromise();

  function start(file: File) {
    const input = {
      bucketId,
      location: file.webkitRelativePath || file.name,
      size: String(file.size), // a BigInt
      contentType: file.type || null,
      idempotencyKey: crypto.randomUUID(),
    };
    setFailure(undefined);
    createFile({
      variables: { input, connections },
      onCompleted: ({ createFile }) => {
        if (!createFile) return;
        void send(file, createFile.uploadUrl)
          .then(() => fetchFile(createFile.file.id))
          .catch(setFailure)
          .finally(() => setUpload(undefined));
      },
    });
  }

  async function send(file: File, uploadUrl: string) {
    const abort = new AbortController();
    setUpload({ share: 0, abort });
    await put(uploadUrl, file, (share) => setUpload({ share, abort }), abort.signal);
  }

  async function download(id: string) {
    const answer = await fetchFile(id);
    if (answer?.file?.downloadUrl) location.assign(answer.file.downloadUrl);
  }

  return (
    <section>
      <label>
        Upload a file
        <input type="file" onChange={({ target: { files } }) => files?.[0] && start(files[0])} />
      </label>
      {upload && (
        <div className="row">
          <progress aria-label="Upload" value={upload.share} />
          <button onClick={() => upload.abort.abort()}>Abort</button>
        </div>
      )}
      <ErrorNote error={createError ?? deleteError ?? failure} />
      <ul className="list">
        {data.files.edges.map(({ node: { id, location, size, status } }) => (
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
              onClick={() => deleteFile({ variables: { input: { id }, connections } })}
            >
              Delete
            </button>
          </li>
        ))}
      </ul>
      {hasNext && <button onClick={() => loadNext(50)}>More</button>}
    </section>
  );
}
