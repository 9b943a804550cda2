import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './page.css';

import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL } from 'graphiql';
import { createRoot } from 'react-dom/client';

import { examples } from './examples';
import { signIn } from './sign-in';

// Written into the page by the server (graph/transport/graphiql/__init__.py).
const config = JSON.parse(document.getElementById('howdah-config').textContent);
const endpoint = new URL(config.endpoint ?? '/graphql', location.href);
const socket = new URL(endpoint);
socket.protocol = endpoint.protocol === 'https:' ? 'wss:' : 'ws:';

// With subscriptionUrl the headers of the tab are also the connection_init payload.
const fetcher = createGraphiQLFetcher({ url: endpoint.href, subscriptionUrl: socket.href });

// A header is most often a token, so it is kept over a reload only for those who said so in the
// settings dialog. GraphiQL forgets that choice when the property is false: read it ourselves.
const keepHeaders = localStorage.getItem('graphiql:shouldPersistHeaders') === 'true';

const { accessToken, problem } = await signIn(endpoint);
const headers = accessToken && JSON.stringify({ Authorization: `Bearer ${accessToken}` }, null, 2);

createRoot(document.getElementById('graphiql')).render(
  <>
    {problem && <p role="alert">{problem}</p>}
    <GraphiQL
      fetcher={fetcher}
      defaultTabs={examples}
      defaultHeaders={headers}
      defaultEditorToolsVisibility="headers"
      shouldPersistHeaders={keepHeaders}
      showPersistHeadersSettings
    />
  </>,
);
