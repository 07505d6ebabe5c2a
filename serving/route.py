"""``python -m serving.route``: see `semicml_tf.serving.route.command`."""

from semicml_tf import commandline

if __name__ == "__main__":
    commandline.run("semicml_tf.serving.route")
