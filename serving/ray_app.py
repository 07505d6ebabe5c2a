"""``python -m serving.ray_app``: see `semicml_tf.serving.ray.command`."""

from semicml_tf import commandline

if __name__ == "__main__":
    commandline.run("semicml_tf.serving.ray")
