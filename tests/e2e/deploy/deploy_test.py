#!/usr/bin/env python3
"""The files of deploy/: two instances of the bundled model behind nginx, a program in an empty root, the systemd unit.

Arguments: forge, the source folder. Exits with 77 where nginx is missing.
"""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

forge, source = sys.argv[1:]
nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
if nginx is None:
    print("NOT TESTED: deploy/: needs nginx (package nginx-light)")
    sys.exit(77)

work = tempfile.mkdtemp()
children = []


def start(argv, log):
    with open(f"{work}/{log}", "w") as stderr:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=stderr)
    children.append(process)
    return process


def serve(argv, log):
    """Starts a server on a free port: its process and that port."""
    process = start([*argv, "serve", "--port", "0", "--parallel", "2", "--threads", "1"], log)
    for _ in range(600):
        with open(f"{work}/{log}") as said:
            found = re.search(r" at http://127\.0\.0\.1:(\d+) ", said.read())
        if found:
            return process, int(found[1])
        assert process.poll() is None, open(f"{work}/{log}").read()
        time.sleep(0.1)
    raise AssertionError(f"{argv} does not listen")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def request(port, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body),
                       {"Content-Type": "application/json", **(headers or {})})
    response = connection.getresponse()
    return response.status, response.read().decode()


def metric(port, name):
    return int(re.search(rf"^forge_{name} (\d+)$", request(port, "/metrics")[1], re.M)[1])


def ask(port, conversation, messages, **more):
    status, body = request(port, "/v1/chat/completions",
                           {"messages": messages, "max_tokens": 12, "seed": 1, **more},
                           {"X-Conversation": conversation})
    assert status == 200, (status, body)
    return json.loads(body)


def behind_nginx(prog):
    instances = [serve([prog], f"instance{i}") for i in range(2)]
    ports = [port for _, port in instances]
    proxy = free_port()
    with open(f"{source}/deploy/nginx.conf") as given:
        conf = given.read()
    for old, new in (("127.0.0.1:8081", f"127.0.0.1:{ports[0]}"), ("127.0.0.1:8082", f"127.0.0.1:{ports[1]}"),
                     ("listen 8080", f"listen 127.0.0.1:{proxy}")):
        assert old in conf, old
        conf = conf.replace(old, new)
    paths = "".join(f"{name}_temp_path {work}/{name};\n"
                    for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(f"{work}/nginx.conf", "w") as out:
        out.write(f"daemon off;\nmaster_process off;\npid {work}/pid;\nerror_log {work}/error.log;\n"
                  f"events {{}}\nhttp {{\naccess_log off;\n{paths}{conf}}}\n")
    start([nginx, "-c", f"{work}/nginx.conf", "-e", f"{work}/error.log"], "nginx")
    for _ in range(100):
        try:
            if request(proxy, "/health")[0] == 200:
                break
        except OSError:
            time.sleep(0.1)

    # Each conversation finds its beginning in the cache of the instance that answered before.
    names = [f"conversation {i}" for i in range(8)]
    conversations = {name: [{"role": "user", "content": f"Tell me a long story about {name} and a green door."}]
                     for name in names}
    for turn in range(3):
        for name, messages in conversations.items():
            answer = ask(proxy, name, messages)
            n_cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
            assert turn == 0 or n_cached > 10 * turn, (name, turn, n_cached)
            messages.append(answer["choices"][0]["message"])
            messages.append({"role": "user", "content": "And what came then?"})
    texts = [metric(port, "texts_total") for port in ports]
    assert sum(texts) == 24 and min(texts) > 0, texts
    print(f"24 requests of 8 conversations: {texts[0]} and {texts[1]}, each turn at the instance of the one before")

    # A stream arrives in pieces, and outlives the end of its instance.
    running = [metric(port, "texts_total") for port in ports]
    connection = http.client.HTTPConnection("127.0.0.1", proxy, timeout=60)
    connection.request("POST", "/v1/chat/completions",
                       json.dumps({"messages": conversations[names[0]], "max_tokens": 300, "ignore_eos": True,
                                   "stream": True}),
                       {"Content-Type": "application/json", "X-Conversation": names[0]})
    stream = connection.getresponse()
    first = stream.readline()
    assert first.startswith(b"data: "), first
    busy = next(i for i in range(2) if metric(ports[i], "texts_running") == 1)
    assert [metric(port, "texts_total") for port in ports] == running
    instances[busy][0].send_signal(signal.SIGTERM)
    time.sleep(0.1)
    answer = ask(proxy, names[0], conversations[names[0]])
    assert answer["choices"][0]["message"]["content"]
    assert metric(ports[1 - busy], "texts_total") == running[1 - busy] + 1
    rest = stream.read()
    assert rest.rstrip().endswith(b"data: [DONE]"), rest[-200:]
    assert rest.count(b'"delta"') > 100, rest.count(b'"delta"')
    assert instances[busy][0].wait(timeout=30) == 0
    print("an instance that ends finished its stream; its conversations went on at the other one")


def in_an_empty_root(prog):
    if os.geteuid() != 0:
        print("NOT TESTED: a program in an empty root: needs root for chroot")
        return
    root = f"{work}/root"
    os.mkdir(root)
    shutil.copy(prog, f"{root}/prog")
    process, port = serve(["chroot", root, "/prog"], "chrooted")
    assert request(port, "/health")[0] == 200
    assert ask(port, "", [{"role": "user", "content": "Tell me a story."}])["choices"][0]["message"]["content"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    print("serves in an empty root")


def unit(prog):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        print("NOT TESTED: deploy/prog.service: needs systemd-analyze")
        return
    with open(f"{source}/deploy/prog.service") as given, open(f"{work}/prog.service", "w") as out:
        out.write(given.read().replace("/opt/prog", prog))
    said = subprocess.run([analyze, "verify", f"{work}/prog.service"], capture_output=True, text=True)
    assert said.returncode == 0 and "prog.service" not in said.stderr, said.stderr
    print("systemd-analyze finds nothing wrong with the unit")


try:
    program = f"{work}/prog"
    subprocess.run([forge, "compile", f"{source}/models/storyteller-q8_0.gguf", "-o", program], check=True)
    behind_nginx(program)
    in_an_empty_root(program)
    unit(program)
finally:
    for child in children:
        if child.poll() is None:
            child.kill()
    for child in children:
        child.wait()
    shutil.rmtree(work)
