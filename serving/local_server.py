"""``python -m serving.local_server``: see `semicml_tf.serving.server.command`."""

from semicml_tf import commandline

if __name__ == "__main__":
    commandline.run("semicml_tf.serving.server")
