// Examines the dashboard's API with schemathesis: it makes requests from the API's own description, right and wrong ones,
// and looks for server errors, for answers that the description does not name, and for bodies that are not as described.
// node api.mjs SCHEMATHESIS [DATABASE_URL] runs it over SQLite, or over that database, with the same requests every time; it
// ends with schemathesis' exit code.

import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Desk } from './admin.mjs';

const EXAMPLES = ['--max-examples', '25', '--seed', '7', '--no-color'];

/** So that some requests find something: a session that is there, and a user who has it. */
function examples(handle) {
  return `[parameters]\n"path.handle" = "${handle}"\n"path.user" = "ada"\n`;
}

const [, , program = 'schemathesis', database] = process.argv;
const desk = new Desk(database);
try {
  await desk.start();
  for (const agent of ['one', 'another']) await desk.user('ada', 'analytical', agent);
  const { sessions } = await desk.ask('sessions?user=ada');
  const config = join(desk.demo.folder, 'schemathesis.toml');
  writeFileSync(config, examples(sessions[0].handle));
  const description = `${desk.address}/admin/api/openapi.json`;
  const args = ['--config-file', config, 'run', description, '-H', `Authorization: Bearer ${desk.token}`, ...EXAMPLES];
  const run = spawn(program, args, { cwd: desk.demo.folder, stdio: 'inherit' });
  process.exitCode = await new Promise((resolve, reject) => run.on('close', resolve).on('error', reject));
} finally {
  await desk.remove();
}
