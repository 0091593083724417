"""Settings of the Jupyter server that `make lab` starts (`jupyter lab --config=tools/jupyter_server_config.py`).

JupyterLab writes the kernel's name and the version of Python into each notebook it opens, and so marks it as changed
before anybody has changed anything. Here the notebook already says both when it arrives in the browser, and
`nbdev-clean` takes them out again when it is saved, with execution counts and all else that makes needless differences.
"""
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelspec import get_kernel_dict
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from nbdev.clean import clean_jupyter


class Contents(AsyncLargeFileManager):
    "Notebooks as JupyterLab would have them, see above."
    async def get(self, path, content=True, type=None, format=None, **kwargs):
        model = await super().get(path, content, type, format, **kwargs)
        meta = (model['content'] or {}).get('metadata', {}) if model['type'] == 'notebook' else {}
        spec = get_kernel_dict()
        if meta.get('kernelspec', {}).get('name') == 'python3':
            meta['kernelspec'] = dict(name='python3', display_name=spec['display_name'], language=spec['language'])
            meta['language_info'] = dict(IPythonKernel.language_info)
        return model


c = get_config()  # noqa: F821 (Jupyter defines it)
c.ServerApp.contents_manager_class = Contents
c.FileContentsManager.pre_save_hook = clean_jupyter
