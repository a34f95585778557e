function share_sweets(bags, children){
    const sweets = bags.reduce((total, bag) => total + bag, 0);
    if (children === 0) {
        return [0, sweets];
    }
    return [Math.floor(sweets / children), sweets % children];
}
