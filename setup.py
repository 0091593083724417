"Hands setuptools the requirements and extras of settings.ini and the readme with full addresses; all else stands in pyproject.toml."
import re, shutil
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

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

class build_with_results(build_py):
    "Takes the stored figures of bench/ along, so that notebooks show them where there is no checkout."
    def run(self):
        super().run()
        if self.editable_mode: return
        to = Path(self.build_lib)/'lesson8'/'assets'/'results'
        to.mkdir(parents=True, exist_ok=True)
        for f in sorted((root/'bench'/'results').glob('*.json')): shutil.copy(f, to)

setup(install_requires=names('requirements'), extras_require=extras, long_description=readme, long_description_content_type='text/markdown',
      cmdclass={'build_py': build_with_results})
