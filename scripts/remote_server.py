"""A web server that sends ranges, or one in front of another server, that can be told to count, to fail and to die.

    remote_server.py files FOLDER        serves a folder: GET and HEAD with ranges, no listing, no ETag
    remote_server.py front URL           passes every request on to the server at URL
    remote_server.py s3                  runs moto's S3 server, with a bucket `lithify`

The first line on stdout is the server's URL. Below /__control: `stats` tells requests and bytes of answers since it was asked last,
`fail?every=N` answers every Nth request with 503, `die?after=N` ends the process in the middle of the Nth further PUT.
"""

import http.client
import json
import os
import sys
import threading
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    lock = threading.Lock()
    requests = sent = count = every = puts_left = 0

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path.startswith("/__control/"):
            return self.control(url.path.split("/")[2], dict(urllib.parse.parse_qsl(url.query)))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with Handler.lock:
            Handler.requests += 1
            Handler.count += 1
            fail = Handler.every and Handler.count % Handler.every == 0
            if Handler.puts_left and self.command in ("PUT", "POST"):
                Handler.puts_left -= 1
                if Handler.puts_left == 0:
                    os._exit(1)
        if fail:
            return self.answer(503, {}, b"slow down")
        self.answer(*self.respond(url, body))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PROPFIND = handle_any

    def control(self, what, query):
        answer = {}
        with Handler.lock:
            if what == "stats":
                answer = {"requests": Handler.requests, "bytes": Handler.sent}
                Handler.requests = Handler.sent = 0
            elif what == "fail":
                Handler.every = int(query["every"])
            elif what == "die":
                Handler.puts_left = int(query["after"])
        self.answer(200, {}, json.dumps(answer).encode(), counts=False)

    def answer(self, status, headers, body, counts=True):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            with Handler.lock:
                Handler.sent += len(body) if counts else 0

    def log_message(self, *_):
        pass


class Files(Handler):
    folder = Path()

    def respond(self, url, _body):
        if self.command not in ("GET", "HEAD"):
            return 405, {}, b""
        file = (self.folder / urllib.parse.unquote(url.path).lstrip("/")).resolve()
        if not file.is_relative_to(self.folder) or not file.is_file():
            return 404, {}, b""
        if file.match("secret/*") and "sig=open" not in url.query:
            return 403, {}, b""
        size = file.stat().st_size
        first, last, status, headers = 0, size - 1, 200, {}
        if wanted := self.headers.get("Range"):
            a, b = wanted.removeprefix("bytes=").split("-")
            if a:
                first, last = int(a), min(int(b or size), size - 1)
            else:
                first = max(0, size - int(b))
            if first > last:
                return 416, {"Content-Range": f"bytes */{size}"}, b""
            status, headers = 206, {"Content-Range": f"bytes {first}-{last}/{size}"}
        n = last - first + 1
        if self.command == "HEAD":
            return status, headers | {"Content-Length": str(n)}, b""
        with file.open("rb") as f:
            f.seek(first)
            return status, headers, f.read(n)


class Front(Handler):
    behind = ""

    def respond(self, _url, body):
        connection = http.client.HTTPConnection(self.behind, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "expect")}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        drop = ("connection", "transfer-encoding", "date", "server")
        headers = {k: v for k, v in answer.getheaders() if k.lower() not in drop}
        text = answer.read()
        if self.command != "HEAD":
            headers = {k: v for k, v in headers.items() if k.lower() != "content-length"}
        return answer.status, headers, text


def s3():
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    options = dict(endpoint_url=url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    boto3.client("s3", **options).create_bucket(Bucket="lithify")
    print(url, flush=True)
    threading.Event().wait()


def main():
    mode = sys.argv[1]
    if mode == "s3":
        return s3()
    handler = Files if mode == "files" else Front
    Files.folder = Path(sys.argv[2]).resolve()
    Front.behind = sys.argv[2].removeprefix("http://")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
