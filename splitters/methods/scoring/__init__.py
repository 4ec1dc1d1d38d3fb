"""How a module is scored once its kernels are chosen: kinds of scores, their fit, and the choice of the best."""
