"""``minictr demo``."""

from .demo import clicks_models, run_demo
from .options import add_command, at_least


def add_demo(commands):
    """``minictr demo``."""
    demo = add_command(commands, "demo", lambda args: run_demo(args.data, args.rows, args.seed, args.out) or 0,
                       "train models side by side on one data set and draw what they learned", f"""
        Trains {", ".join(clicks_models(0))} on one data set, prints one table of their scores beside those of
        always predicting the base rate, and draws what the models learned: the pairs of fields on which they put
        their attention, what each pair adds to the prediction, and how one prediction adds up.

        The data are clicks drawn from a known formula, so the pictures show the planted truth beside what was
        learned, and the table the best score that any model could reach. As many models are trained at a time as
        there are cores; it takes well under a minute.

        examples:
          minictr demo
          minictr demo --rows 10000 --seed 3 --out pictures     fewer rows, another world
          minictr demo --data ml-1m                             MovieLens-1M: real ratings, a few minutes
        """)
    demo.add_argument("--data", choices=["clicks", "ml-1m"], default="clicks",
                      help="clicks: drawn on the spot (default). ml-1m: MovieLens-1M, liked or not, by user, movie and "
                           "7 facts about them; read from the folder that the environment variable MINICTR_DATA "
                           "names, else downloaded once")
    demo.add_argument("--rows", type=at_least(1000), metavar="N",
                      help="clicks: rows to train on (default 50,000; a quarter more are drawn to stop by, and half as "
                           "many to test on). ml-1m: use N random rows in all (default: all 739,012)")
    demo.add_argument("--seed", type=at_least(0), default=0, metavar="S",
                      help="draws the data and starts the models (default 0); the same seed gives the same result")
    demo.add_argument("--out", default="minictr-demo", metavar="FOLDER",
                      help="where the pictures go (default ./minictr-demo)")
