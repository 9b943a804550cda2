// The official audits of GraphQL over HTTP: node audits.mjs URL
import { serverAudits } from 'graphql-http';

const audits = serverAudits({ url: process.argv[2], fetchFn: fetch });
const results = [];
for (const audit of audits) results.push({ audit, ...(await audit.fn()) });

const failed = results.filter(({ status }) => status !== 'ok');
for (const { audit, status, reason } of failed) console.log(`${status} ${audit.name}: ${reason}`);
console.log(`${audits.length} audits, ${failed.length} not met`);
process.exitCode = failed.length > 0 ? 1 : 0;
