import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './page.css';

import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL } from 'graphiql';
import { createRoot } from 'react-dom/client';

import { examples } from './examples';

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

createRoot(document.getElementById('graphiql')).render(
  <GraphiQL
    fetcher={fetcher}
    defaultTabs={examples}
    defaultHeaders={config.defaultHeaders}
    defaultEditorToolsVisibility="headers"
    shouldPersistHeaders={keepHeaders}
    showPersistHeadersSettings
  />,
);
