#!/usr/bin/env python3
"""An S3 server for tests, of its own and strict: it verifies every signature (SigV4, payload hash, clock) independently of
the code under test, and has conditional writes, listings in pages, uploads in parts, and failures on demand.

    fake_s3.py [--port 0] [--bucket NAME]... [--region R] [--key ID:SECRET] [--token T] [--page N] [--min-part BYTES] [--dir D] [--tls CERT_AND_KEY.pem]

Prints `listening on <port>` and serves until stdin is closed or it is killed. With --dir objects are files there (they survive
a restart). Beside S3:

    GET  /_log                   JSON: [method, path, query, status, conditions] of every S3 request
    POST /_fault                 JSON {method, match, action, count, skip}: the next `count` requests of the method whose key
                                 contains `match` (after `skip` of them) fail; action:
                                   "<status> <Code>"   answered so, nothing done
                                   "drop"              connection closed, nothing done
                                   "lose"              done, connection closed without an answer
                                   "hang"              nothing done, no answer for 60 s
                                   "done <status> <Code>"  done, and answered so
    POST /_clear                 no more faults
    PUT  /latest/api/token, GET /latest/meta-data/iam/security-credentials/[role], GET /container   credentials as the services of
                                 an instance and of a container give them
    GET  /?Action=AssumeRoleWithWebIdentity&...  as STS
"""
import argparse
import calendar
import hashlib
import hmac
import html
import json
import os
import re
import ssl
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape


class Failure(Exception):
    def __init__(self, status, code, message="", extra=""):
        self.status, self.code, self.message, self.extra = status, code, message, extra


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Bucket:
    def __init__(self, directory):
        self.objects = {}  # key -> bytes
        self.uploads = {}  # id -> (key, {number: bytes})
        self.directory = directory
        if directory:
            os.makedirs(directory, exist_ok=True)
            for name in os.listdir(directory):
                with open(os.path.join(directory, name), "rb") as f:
                    self.objects[urllib.parse.unquote(name)] = f.read()

    def path(self, key):
        return os.path.join(self.directory, urllib.parse.quote(key, safe=""))

    def put(self, key, data):
        self.objects[key] = data
        if self.directory:
            with open(self.path(key) + "~", "wb") as f:
                f.write(data)
            os.rename(self.path(key) + "~", self.path(key))

    def delete(self, key):
        if self.objects.pop(key, None) is not None and self.directory:
            os.unlink(self.path(key))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    # ---- frame ----

    def reply(self, status, body=b"", headers=()):
        self.status = status
        if self.fault and self.fault.startswith("done "):
            _, text, code = self.fault.split(" ", 2)
            self.fault = None
            return self.error(Failure(int(text), code))
        if self.fault == "lose":
            self.close_connection = True
            self.connection.close()
            return None
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return None

    def error(self, e):
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{e.code}</Code><Message>{escape(e.message)}</Message>'
            f"{e.extra}<RequestId>1</RequestId></Error>"
        )
        self.reply(e.status, body.encode(), [("Content-Type", "application/xml")])

    def handle_any(self):
        self.fault, self.status = None, 0
        url = urllib.parse.urlsplit(self.path)
        self.raw_path, self.raw_query = url.path, url.query
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path.startswith("/_"):
            return self.control(url.path)
        if self.services(url.path):
            return None
        key = None
        try:
            bucket, key = self.place()
            self.fault = self.server.next_fault(self.command, key or "")
            if self.fault == "drop":
                self.close_connection = True
                self.connection.close()
                return None
            if self.fault == "hang":
                time.sleep(60)
                self.close_connection = True
                return None
            if self.fault and self.fault[0].isdigit():
                status, code = self.fault.split(" ", 1)
                self.fault = None
                raise Failure(int(status), code)
            self.verify()
            with self.server.lock:
                self.serve(bucket, key)
        except Failure as e:
            self.error(e)
        finally:
            conditions = {n: self.headers[n] for n in ("If-Match", "If-None-Match") if self.headers[n]}
            self.server.log.append([self.command, urllib.parse.unquote(url.path), url.query, self.status, conditions])
        return None

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

    def control(self, path):
        if path == "/_log":
            return self.reply(200, json.dumps(self.server.log).encode())
        if path == "/_fault":
            fault = {"skip": 0, "count": 1, "match": "", "method": "PUT", **json.loads(self.body)}
            self.server.faults.append(fault)
        elif path == "/_clear":
            self.server.faults.clear()
        return self.reply(200)

    def services(self, path):
        o = self.server.options
        answer = {"AccessKeyId": o.id, "SecretAccessKey": o.secret, "Expiration": "2099-01-01T00:00:00Z"}
        if o.token:
            answer["Token"] = o.token
        if path == "/latest/api/token" and self.command == "PUT":
            ok = self.headers["x-aws-ec2-metadata-token-ttl-seconds"]
            self.reply(200 if ok else 400, b"imds-token")
        elif path.startswith("/latest/meta-data/iam/security-credentials/"):
            if self.headers["x-aws-ec2-metadata-token"] != "imds-token":
                self.reply(401)
            elif path.endswith("/"):
                self.reply(200, b"the-role")
            else:
                self.reply(200 if path.endswith("/the-role") else 404, json.dumps(answer).encode())
        elif path == "/container":
            self.reply(200 if self.headers["authorization"] == "container-token" else 401, json.dumps(answer).encode())
        elif self.query.get("Action") == "AssumeRoleWithWebIdentity":
            fields = "".join(
                f"<{n}>{escape(v)}</{n}>" for n, v in {"SessionToken": answer.pop("Token", ""), **answer}.items()
            )
            ok = self.query.get("WebIdentityToken") == "web/token+" and self.query.get("RoleArn") == "arn:aws:iam::1:role/r"
            self.reply(200 if ok else 403, f"<R><Credentials>{fields}</Credentials></R>".encode())
        else:
            return False
        return True

    # ---- signature ----

    def verify(self):
        o = self.server.options
        text = self.headers["Authorization"] or ""
        if not text.startswith("AWS4-HMAC-SHA256 "):
            raise Failure(403, "AccessDenied", "no signature")
        fields = dict(f.strip().split("=", 1) for f in text.split(" ", 1)[1].split(","))
        access_key, day, region, service, end = fields["Credential"].split("/")
        names = fields["SignedHeaders"].split(";")
        date = self.headers["x-amz-date"] or ""
        if access_key != o.id:
            raise Failure(403, "InvalidAccessKeyId")
        if region != o.region:
            raise Failure(400, "AuthorizationHeaderMalformed", "wrong region", f"<Region>{o.region}</Region>")
        if service != "s3" or end != "aws4_request" or not date.startswith(day):
            raise Failure(400, "AuthorizationHeaderMalformed", "bad scope")
        if abs(calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ")) - time.time()) > 900:
            raise Failure(403, "RequestTimeTooSkewed")
        if (self.headers["x-amz-security-token"] or "") != o.token:
            raise Failure(403, "InvalidToken", "session token")
        must = [n.lower() for n in self.headers if n.lower().startswith("x-amz-") or n.lower().startswith("if-")]
        if names != sorted(names) or "host" not in names or not set(must) <= set(names):
            raise Failure(403, "AccessDenied", f"not signed: {set(must) - set(names)}")
        payload = self.headers["x-amz-content-sha256"]
        if payload != "UNSIGNED-PAYLOAD" and payload != sha256(self.body):
            raise Failure(400, "XAmzContentSHA256Mismatch")
        pairs = sorted(p if "=" in p else p + "=" for p in self.raw_query.split("&") if p)
        canonical = "\n".join(
            [
                self.command,
                urllib.parse.quote(urllib.parse.unquote(self.raw_path), safe="/-_.~"),
                "&".join(pairs),
                *[f"{n}:{' '.join(self.headers[n].split())}" for n in names],
                "",
                ";".join(names),
                payload,
            ]
        )
        to_sign = f"AWS4-HMAC-SHA256\n{date}\n{day}/{region}/s3/aws4_request\n{sha256(canonical.encode())}"
        k = sign(sign(sign(sign(f"AWS4{o.secret}".encode(), day), region), "s3"), "aws4_request")
        if not hmac.compare_digest(sign(k, to_sign).hex(), fields["Signature"]):
            raise Failure(403, "SignatureDoesNotMatch", "the signature is wrong")

    # ---- S3 ----

    def place(self):
        path = urllib.parse.unquote(self.raw_path)[1:]
        name, _, key = path.partition("/")
        if name not in self.server.buckets:
            raise Failure(404, "NoSuchBucket", name)
        return self.server.buckets[name], key

    def etag(self, data):
        return f'"{hashlib.md5(data).hexdigest()}"'

    def serve(self, bucket, key):
        present = bucket.objects.get(key)
        if not key and self.command == "GET":
            return self.list(bucket)
        if not key and self.command == "POST" and "delete" in self.query:
            return self.delete_many(bucket)
        if "uploads" in self.query or "uploadId" in self.query:
            return self.multipart(bucket, key)
        if self.command in ("GET", "HEAD"):
            if present is None:
                raise Failure(404, "NoSuchKey", key)
            return self.reply(200, present, [("ETag", self.etag(present))])
        if self.command == "PUT":
            self.check_conditions(present, key)
            bucket.put(key, self.body)
            return self.reply(200, b"", [("ETag", self.etag(self.body))])
        if self.command == "DELETE":
            bucket.delete(key)
            return self.reply(204)
        raise Failure(405, "MethodNotAllowed")

    def check_conditions(self, present, key):
        match, none = self.headers["If-Match"], self.headers["If-None-Match"]
        if none not in (None, "*"):
            raise Failure(501, "NotImplemented")
        if none and present is not None:
            raise Failure(412, "PreconditionFailed")
        if match and present is None:
            raise Failure(404, "NoSuchKey", key)
        if match and match != self.etag(present):
            raise Failure(412, "PreconditionFailed")

    def list(self, bucket):
        if self.query.get("list-type") != "2":
            raise Failure(501, "NotImplemented")
        prefix, token = self.query.get("prefix", ""), self.query.get("continuation-token")
        keys = sorted((k for k in bucket.objects if k.startswith(prefix)), key=lambda k: k.encode())
        if token:
            keys = [k for k in keys if k > bytes.fromhex(token).decode()]
        page = keys[: min(self.server.options.page, int(self.query.get("max-keys", 1000)))]
        more = len(page) < len(keys)
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>b</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>{str(more).lower()}</IsTruncated>"
        )
        for k in page:
            data = bucket.objects[k]
            body += f"<Contents><Key>{escape(k)}</Key><ETag>{escape(self.etag(data))}</ETag><Size>{len(data)}</Size><Owner><ID>1</ID></Owner></Contents>"
        if more:
            body += f"<NextContinuationToken>{page[-1].encode().hex()}</NextContinuationToken>"
        return self.reply(200, (body + "</ListBucketResult>").encode(), [("Content-Type", "application/xml")])

    def delete_many(self, bucket):
        for part in self.body.decode().split("<Key>")[1:]:
            bucket.delete(part.split("</Key>")[0])
        return self.reply(200, b"<DeleteResult/>")

    def multipart(self, bucket, key):
        uploads = bucket.uploads
        if self.command == "POST" and "uploads" in self.query:
            upload = os.urandom(8).hex() + "+/="
            uploads[upload] = (key, {})
            body = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            return self.reply(200, body.encode())
        upload = self.query["uploadId"]
        if upload not in uploads or uploads[upload][0] != key:
            raise Failure(404, "NoSuchUpload")
        parts = uploads[upload][1]
        if self.command == "PUT":
            parts[int(self.query["partNumber"])] = self.body
            return self.reply(200, b"", [("ETag", self.etag(self.body))])
        if self.command == "DELETE":
            del uploads[upload]
            return self.reply(204)
        text = html.unescape(self.body.decode())
        listed = [
            (int(re.search(r"<PartNumber>(\d+)</PartNumber>", part).group(1)), re.search(r"<ETag>(.*?)</ETag>", part).group(1))
            for part in re.findall(r"<Part>(.*?)</Part>", text)
        ]
        if listed != [(n, self.etag(parts[n])) for n in sorted(parts)]:
            raise Failure(400, "InvalidPart")
        small = [n for n in sorted(parts)[:-1] if len(parts[n]) < self.server.options.min_part]
        if small:
            raise Failure(400, "EntityTooSmall")
        data = b"".join(parts[n] for n in sorted(parts))
        bucket.put(key, data)
        del uploads[upload]
        body = f"<CompleteMultipartUploadResult><ETag>{escape(self.etag(data))}</ETag></CompleteMultipartUploadResult>"
        return self.reply(200, body.encode())


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, options):
        super().__init__(("127.0.0.1", options.port), Handler)
        self.options, self.lock, self.log, self.faults = options, threading.Lock(), [], []
        self.buckets = {
            b: Bucket(os.path.join(options.dir, b) if options.dir else None) for b in options.bucket or ["bucket"]
        }

    def handle_error(self, request, client_address):
        pass  # connections that were closed on purpose

    def next_fault(self, method, key):
        with self.lock:
            for f in self.faults:
                if f["method"] in (method, "*") and f["match"] in key and f["count"] > 0:
                    if f["skip"] > 0:
                        f["skip"] -= 1
                        continue
                    f["count"] -= 1
                    return f["action"]
        return None


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--bucket", action="append")
    p.add_argument("--region", default="us-east-1")
    p.add_argument("--key", default="test-key:test/secret+")
    p.add_argument("--token", default="")
    p.add_argument("--page", type=int, default=1000)
    p.add_argument("--min-part", type=int, default=5 << 20)
    p.add_argument("--dir")
    p.add_argument("--tls")
    options = p.parse_args()
    options.id, options.secret = options.key.split(":", 1)
    server = Server(options)
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(f"listening on {server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()  # the test that started it is gone


if __name__ == "__main__":
    main()
