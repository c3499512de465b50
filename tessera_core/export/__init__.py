"""Publish the champion's embeddings of every tile, in one folder that never changes again.

``engine`` embeds and quantises a tile, ``tiles`` stores it as NPY, ``zones`` lays the tiles of
a UTM zone on one grid, ``store`` writes that grid as a ``geoemb:`` Zarr v3 store. ``validate``
reads everything back before ``stage`` gives the folder its name::

    champion + samples -> engine -> npy/ -> embeddings.zarr/ + preview.png -> validate -> published
"""
