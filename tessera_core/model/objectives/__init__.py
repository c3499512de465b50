"""What training minimises: two projections of the same d-pixels in, one loss out.

::

    interface     what an objective takes and gives, and in which precision
    barlow        Barlow Twins with the mix term      vicreg    VICReg
    sigreg        SIGReg, the loss of LeJEPA
    correlation   whitening and squared correlations, with gradients by hand
"""
