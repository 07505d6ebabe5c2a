"""``python -m serving.client``: see `semicml_tf.serving.client.command`."""

from semicml_tf import commandline

if __name__ == "__main__":
    commandline.run("semicml_tf.serving.client")
