"""Renders chat templates with jinja2, configured as transformers' apply_chat_template does, for the evaluator's tests.

    /usr/bin/python3 tests/goldens/make_template_goldens.py                        # rewrites template_goldens.json
    /usr/bin/python3 tests/goldens/make_template_goldens.py --templates DIR --out F

Every *.jinja in the folder is rendered for every conversation of conversations.json. Exit status 3: no jinja2 here.
"""
import argparse
import datetime
import json
import os
import sys

try:
    import jinja2
    import jinja2.ext
    import jinja2.nodes
    import jinja2.sandbox
except ImportError:
    sys.exit(3)

HERE = os.path.dirname(os.path.abspath(__file__))
NOW = datetime.datetime(2024, 7, 4, 9, 5, 7)


class Generation(jinja2.ext.Extension):
    """{% generation %} … {% endgeneration %}: transformers marks the assistant's text with it; here it passes through."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("through"), [], [], body).set_lineno(line)

    @staticmethod
    def through(caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def render(env, source, conversation):
    variables = {"tools": None, "documents": None, **conversation.get("variables", {})}
    try:
        output = env.from_string(source).render(
            messages=conversation["messages"], add_generation_prompt=conversation["add_generation_prompt"], **variables)
        return {"output": output}
    except Exception as error:  # whatever stops jinja2 must stop the evaluator
        return {"error": "%s: %s" % (type(error).__name__, error)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--templates", default=os.path.join(HERE, "templates"))
    parser.add_argument("--out", default=os.path.join(HERE, "template_goldens.json"))
    args = parser.parse_args()
    with open(os.path.join(HERE, "conversations.json"), encoding="utf-8") as f:
        conversations = json.load(f)
    cases = []
    for name in sorted(os.listdir(args.templates)):
        if not name.endswith(".jinja"):
            continue
        with open(os.path.join(args.templates, name), encoding="utf-8", newline="") as f:
            source = f.read()
        for conversation in conversations:
            cases.append({"template": name, "conversation": conversation["name"],
                          **render(environment(), source, conversation)})
    with open(args.out, "w", encoding="utf-8") as f:
        json.dump(cases, f, ensure_ascii=False, indent=0)
        f.write("\n")


main()
