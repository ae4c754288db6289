"""Sources of images and depth: folders, KITTI, NYU Depth V2, synthetic scenes, and their splits."""
