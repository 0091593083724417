"Hands setuptools the requirements and extras of settings.ini and the readme with full addresses; all else stands in pyproject.toml."
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

root = Path(__file__).parent
cfg = ConfigParser(delimiters=['='], interpolation=None)
cfg.read(root/'settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']
def names(key): return [line.strip() for line in cfg[key].splitlines() if line.strip()]
extras = {key.removesuffix('_requirements'): names(key) for key in cfg if key.endswith('_requirements')}

# A package index shows the readme without the files beside it.
home = f"https://github.com/{cfg['user']}/{cfg['repo']}"
def full(m): return f"]({home}/{'raw' if m[1].endswith(('.png', '.svg')) else 'blob'}/{cfg['branch']}/{m[1]})"
readme = re.sub(r'\]\((?![a-z]+:|#)([^)\s]+)\)', full, (root/'README.md').read_text(encoding='utf-8'))

setup(install_requires=names('requirements'), extras_require=extras, long_description=readme, long_description_content_type='text/markdown')
