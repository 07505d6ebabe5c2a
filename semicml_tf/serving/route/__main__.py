from semicml_tf import commandline

commandline.run("semicml_tf.serving.route")
