// Compares schema.graphql with the last release: node breaking.mjs REPOSITORY
// A breaking change fails, unless its coordinate stands below "### Breaking" of a release in CHANGELOG.md
// that is newer than the tag. Without a tag there is no release to break.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CriticalityLevel, diff } from '@graphql-inspector/core';
import { buildSchema } from 'graphql';

const repository = process.argv[2];
const SCHEMA = 'schema.graphql';

const tag = lastRelease();
if (tag) await compareWith(tag);

function lastRelease() {
  try {
    return git('describe', '--tags', '--abbrev=0', '--match', 'v[0-9]*', 'HEAD').trim();
  } catch {
    console.log(`${SCHEMA} was not compared with a release: ${reasonForNoTag()}`);
    return null;
  }
}

function reasonForNoTag() {
  try {
    return git('rev-parse', '--is-shallow-repository').trim() === 'true'
      ? 'this clone is shallow and has no tag. `git fetch --unshallow --tags` gets them, fetch-depth: 0 in CI.'
      : 'there is no tag such as v0.1.0 yet.';
  } catch {
    return 'this is no git repository.';
  }
}

async function compareWith(tag) {
  const before = buildSchema(git('show', `${tag}:${SCHEMA}`));
  const now = buildSchema(readFileSync(join(repository, SCHEMA), 'utf8'));
  const changes = await diff(before, now);
  const at = (level) => changes.filter(({ criticality }) => criticality.level === level);
  for (const change of at(CriticalityLevel.Dangerous)) {
    console.log(`dangerous: ${coordinateOf(change)}: ${change.message}`);
  }
  const marked = markedCoordinates(tag);
  const breaking = at(CriticalityLevel.Breaking);
  const unmarked = breaking.filter((change) => !marked.has(coordinateOf(change)));
  for (const change of unmarked) {
    console.error(`breaking: ${coordinateOf(change)}: ${change.message}`);
  }
  if (unmarked.length > 0) {
    console.error(
      'Deprecate instead of removing. If it must break, say so to users: a line below "### Breaking" of ' +
        'the next release in CHANGELOG.md that names the coordinate in backticks, as printed above.',
    );
    process.exitCode = 1;
  } else {
    console.log(`${SCHEMA}: ${breaking.length} breaking changes since ${tag}, all of them announced`);
  }
}

// As in the GraphQL specification: Type.field, Type.field(argument:), Enum.VALUE.
function coordinateOf({ type, path }) {
  const [parent, field, argument] = path.split('.');
  return type.startsWith('FIELD_ARGUMENT') ? `${parent}.${field}(${argument}:)` : path;
}

function markedCoordinates(tag) {
  const released = `## ${tag.slice(1)}`;
  const marked = new Set();
  let inside = false;
  for (const line of readFileSync(join(repository, 'CHANGELOG.md'), 'utf8').split('\n')) {
    if (line === released || line.startsWith(`${released} `)) break;
    if (/^#{1,3} /.test(line)) inside = line === '### Breaking';
    else if (inside) for (const [, name] of line.matchAll(/`([^`]+)`/g)) marked.add(name);
  }
  return marked;
}

function git(...command) {
  return execFileSync('git', ['-C', repository, ...command], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}
