"""Package metadata of minictr; tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

run_notebooks = ["jupytext>=1.16", "nbclient>=0.10", "nbformat>=5.10", "ipykernel>=6.29"]

setup(
    name="minictr",
    version="0.1.0",
    description="Factorization models for click prediction in NumPy: FM, AFM, AutoInt, DeepFM, written to be read",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["minictr", "minictr.*"]),
    package_data={"minictr.app": ["*.css", "*.js"], "minictr.tracing": ["*.css", "*.js"]},
    python_requires=">=3.10",
    install_requires=["numpy>=1.26", "pandas>=2.1", "matplotlib>=3.8"],
    extras_require={
        "dask": ["dask[dataframe,distributed]>=2025.1"],
        "test": ["pytest>=8", "pytest-cov>=5", "pytest-xdist>=3.5", "hypothesis>=6.100", "scikit-learn>=1.6",
                 "dask[dataframe,distributed]>=2025.1", *run_notebooks],
        "tutorials": ["jupyter>=1", *run_notebooks],
        "site": ["sphinx>=9.0,<10", "myst-nb>=1.4", "furo>=2025.12.19", "latex2mathml>=3.81", "ziamath>=0.13,<0.14"],
        "shapley": ["shap>=0.51", "shapiq>=1.4"],                  # docs/shapley.md alone
        "benchmarks": ["torch>=2.4", "deepctr-torch>=0.3", "requests"],    # requests: deepctr-torch needs it
    },
    entry_points={"console_scripts": ["minictr = minictr.app.cli:main"]},
    classifiers=[
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
