"""``python -m serving.conformance``: see `semicml_tf.serving.conformance.command`."""

from semicml_tf import commandline

if __name__ == "__main__":
    commandline.run("semicml_tf.serving.conformance")
