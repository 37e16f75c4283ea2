"""Where the planted pairs of ``make_clicks`` end up in the rankings: ``python -m benchmarks.planted``.

For several worlds, the rank (1 is first, of 28) of each planted pair, from the largest planted effect to the smallest,
by FM's and AFM's mean |contribution| and by AFM's mean attention on rows that training did not see.
"""

import argparse

from minictr import AFM, FM, datasets, explain


def ranks(table, pairs):
    """The rank of each of ``pairs`` among all pairs, by descending value."""
    ordered = table.sort_values("value", ascending=False, kind="stable")
    rank_of = {pair: rank for rank, pair in enumerate(zip(ordered["field_i"], ordered["field_j"], strict=True), 1)}
    return [rank_of[pair] for pair in pairs]


def main():
    """Train on several worlds and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    print(f"{args.rows:,} rows, 15 epochs at most, otherwise the default settings")
    for seed in range(args.seeds):
        train = datasets.make_clicks(args.rows, seed=seed)
        test = datasets.make_clicks(20_000, seed=seed, rows_seed=1)
        truth = train.planted_pairs.query("value > 0").sort_values("value", ascending=False, kind="stable")
        pairs = list(zip(truth["field_i"], truth["field_j"], strict=True))
        fm, afm = (cls(epochs=15, seed=seed).fit(train.X, train.y, validation=0.1) for cls in (FM, AFM))
        print(f"world {seed}: planted {truth['value'].tolist()}"
              f"  FM contribution {ranks(explain.pair_importance(fm, test.X), pairs)}"
              f"  AFM contribution {ranks(explain.pair_importance(afm, test.X), pairs)}"
              f"  AFM attention {ranks(explain.attention(afm, test.X), pairs)}", flush=True)


if __name__ == "__main__":
    main()
