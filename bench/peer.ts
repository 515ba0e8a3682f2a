import { spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../test/support/hub.js'

export interface Peer {
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  /** Bare repositories `<name>.git` go here. */
  readonly root: string
  /** Files here are at `/static/…`. */
  readonly statics: string
  readonly user: string
  readonly password: string
  stop(): Promise<void>
}

const processes = 8

/** C git's own server as Debian has it: nginx, fcgiwrap, `git http-backend`, with a log and, below /private, a password. */
export async function startPeer(folder: string): Promise<Peer> {
  const root = join(folder, 'repositories')
  await mkdir(root, { recursive: true })
  const socket = join(folder, 'fcgi.sock')
  const port = await freePort()
  const password = 'bench'
  const sha1 = createHash('sha1').update(password).digest('base64')
  await writeFile(join(folder, 'users'), `bench:{SHA}${sha1}\n`)
  const backend = (auth: string) => `
      ${auth}
      client_max_body_size 0;
      fastcgi_pass unix:${socket};
      fastcgi_param SCRIPT_FILENAME /usr/lib/git-core/git-http-backend;
      fastcgi_param GIT_PROJECT_ROOT ${root};
      fastcgi_param GIT_HTTP_EXPORT_ALL "";
      fastcgi_param GIT_PROTOCOL $http_git_protocol;
      fastcgi_param PATH_INFO $1;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
      fastcgi_param REMOTE_USER bench;
      fastcgi_param REMOTE_ADDR $remote_addr;
      fastcgi_read_timeout 600s;`
  await writeFile(
    join(folder, 'nginx.conf'),
    `daemon off;
pid ${join(folder, 'nginx.pid')};
error_log ${join(folder, 'error.log')};
worker_processes 2;
${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 256; }
http {
  access_log ${join(folder, 'access.log')};
  client_body_temp_path ${join(folder, 'body')};
  fastcgi_temp_path ${join(folder, 'fastcgi')};
  proxy_temp_path ${join(folder, 'proxy')};
  uwsgi_temp_path ${join(folder, 'uwsgi')};
  scgi_temp_path ${join(folder, 'scgi')};
  server {
    listen 127.0.0.1:${port};
    location ^~ /static/ {
      root ${folder};
      sendfile on;
    }
    location ~ ^/private(/.*)$ {${backend(`auth_basic "git"; auth_basic_user_file ${join(folder, 'users')};`)}
    }
    location ~ ^(/.*)$ {${backend('')}
    }
  }
}
`,
  )
  const children: ChildProcess[] = [
    spawn('fcgiwrap', ['-c', String(processes), '-s', `unix:${socket}`], { stdio: 'ignore', detached: true }),
    spawn('nginx', ['-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')], { stdio: 'inherit', detached: true }),
  ]
  const url = `http://127.0.0.1:${port}`
  for (let i = 0; i < 100; i++) {
    if (
      await fetch(url).then(
        () => true,
        () => false,
      )
    )
      break
    await delay(50)
  }
  return {
    url,
    root,
    statics: join(folder, 'static'),
    user: 'bench',
    password,
    async stop() {
      // fcgiwrap's children outlive it: each has a group of its own.
      for (const child of children.toReversed()) {
        const exited = new Promise((resolve) => child.once('exit', resolve))
        if (child.exitCode !== null || child.pid === undefined) continue
        process.kill(-child.pid, 'SIGTERM')
        await exited
      }
    },
  }
}
